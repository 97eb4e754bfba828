"""Answers of `/v1/embeddings`, `/v1/score` and `/v1/rerank`, and the keyword arguments of their calls."""

from __future__ import annotations

import base64
import struct
from typing import Any

from pydantic import Field, field_validator

from sgl_jax.client.types._base import ServerModel, Usage
from sgl_jax.client.types.params import RequestOptions


class EmbeddingItem(ServerModel):
    """One input as a vector; `index` is its place among them."""

    object: str = "embedding"
    index: int = 0
    embedding: list[float] = Field(default_factory=list)

    @field_validator("embedding", mode="before")
    @classmethod
    def _unpacked(cls, value: Any) -> Any:
        """The client asks for base64, a third of the bytes that numbers take."""
        if not isinstance(value, str):
            return value
        packed = base64.b64decode(value, validate=True)
        if len(packed) % 4:
            raise ValueError("an embedding in base64 must be of whole float32 values")
        return list(struct.unpack(f"<{len(packed) // 4}f", packed))


class Embeddings(ServerModel):
    """The inputs' vectors, in their order."""

    object: str = "list"
    data: list[EmbeddingItem] = Field(default_factory=list)
    model: str = ""
    usage: Usage | None = None

    @property
    def vectors(self) -> list[list[float]]:
        """All of them, without what is around."""
        return [item.embedding for item in self.data]


class Scores(ServerModel):
    """Probabilities of the label tokens: a row an item, a number a label."""

    object: str = "scoring"
    scores: list[list[float]] = Field(default_factory=list)
    model: str = ""
    usage: Usage | None = None


class RankedText(ServerModel):
    """A document's text."""

    text: str = ""


class RankedDocument(ServerModel):
    """One document; `index` is its place in the request, `relevance_score` larger where it fits better."""

    index: int = 0
    relevance_score: float = 0.0
    document: RankedText | None = None


class Ranking(ServerModel):
    """Documents, the best first."""

    id: str = ""
    model: str = ""
    results: list[RankedDocument] = Field(default_factory=list)
    usage: Usage | None = None


class _SearchParams(RequestOptions, total=False):
    """What these calls share."""

    model: str | None
    """Left out: the model that the server serves."""
    rid: str | None
    """The request's own id, for abort and for the log."""
    priority: int | None
    cache_salt: str | None
    user: str | None


class EmbeddingParams(_SearchParams, total=False):
    """Keyword arguments of `client.embeddings.create(...)`."""

    dimensions: int | None
    """Keep only the first ones, of a model that was trained for that."""
    truncate_prompt_tokens: int | None
    """Cut longer texts down to so many tokens; -1 to what the model takes. Left out, they are refused."""


class ScoreParams(_SearchParams, total=False):
    """Keyword arguments of `client.score(...)`."""

    apply_softmax: bool | None
    """Probabilities among the labels, which add up to 1, not among all tokens."""
    item_first: bool | None
    """The query follows each item."""


class RerankParams(_SearchParams, total=False):
    """Keyword arguments of `client.rerank(...)`."""

    top_n: int | None
    return_documents: bool | None
    instruct: str | None
    """What the model should look for; by default it is web search."""
    truncate_prompt_tokens: int | None
    """As for embeddings."""
