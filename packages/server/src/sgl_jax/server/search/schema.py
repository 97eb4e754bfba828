"""Bodies of `/v1/embeddings`, `/v1/score` and `/v1/rerank`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from sgl_jax.server.bounds import CacheSalt, Positive, Priority

Truncation = Annotated[
    int, Meta(ge=-1, description="Cut longer texts down to so many tokens; -1 to what the model takes.")
]


class SearchFields(msgspec.Struct, kw_only=True):
    """What all requests of this kind have."""

    model: Annotated[str | None, Meta(description="The served model's name; none or `default` also mean it.")] = None
    user: Annotated[str | None, Meta(description="Tolerated, without effect.")] = None
    rid: Annotated[str | None, Meta(description="Your own id, by which `/abort_request` finds the request.")] = None
    priority: Annotated[
        Priority | None, Meta(description="Larger is more urgent, under `--schedule-policy=priority`.")
    ] = None
    cache_salt: Annotated[
        CacheSalt | None, Meta(description="Share cached prefixes only with requests of the same salt.")
    ] = None


class EmbeddingRequest(SearchFields, kw_only=True):
    """Body of `POST /v1/embeddings`."""

    input: Annotated[
        str | list[str | int | list[int]],
        Meta(description="A text, a list of texts, token ids, or a list of token id lists."),
    ]
    encoding_format: Annotated[
        Literal["float", "base64"] | None, Meta(description="base64 is of little-endian float32 values.")
    ] = None
    dimensions: Annotated[
        Positive | None, Meta(description="Keep only the first ones, of a model that was trained for that.")
    ] = None
    truncate_prompt_tokens: Truncation | None = None


class SearchUsage(msgspec.Struct, frozen=True):
    """Real token counts; nothing is generated."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingObject(msgspec.Struct, frozen=True, kw_only=True):
    """One input's vector: numbers, or their bytes in base64."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingList(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `POST /v1/embeddings`, in the order of the inputs."""

    object: Literal["list"] = "list"
    data: list[EmbeddingObject]
    model: str
    usage: SearchUsage


class ScoreRequest(SearchFields, kw_only=True):
    """Body of `POST /v1/score`, as SGLang has it."""

    query: Annotated[str | list[int], Meta(description="A text or token ids, the same for all items.")]
    items: Annotated[
        str | list[str | list[int]], Meta(description="A text, several, or lists of token ids; each follows the query.")
    ]
    label_token_ids: Annotated[list[int], Meta(description="The tokens whose probabilities are wanted.")]
    apply_softmax: Annotated[
        bool | None, Meta(description="Probabilities among the labels, which add up to 1, not among all tokens.")
    ] = None
    item_first: Annotated[bool | None, Meta(description="The query follows each item.")] = None


class ScoreAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `POST /v1/score`: a row an item, a number a label."""

    object: Literal["scoring"] = "scoring"
    scores: list[list[float]]
    model: str
    usage: SearchUsage


class TextDocument(msgspec.Struct):
    """A document as an object."""

    text: str


class RerankRequest(SearchFields, kw_only=True):
    """Body of `POST /v1/rerank`."""

    query: str
    documents: Annotated[list[str | TextDocument], Meta(description="Texts, or objects with a `text`.")]
    top_n: Annotated[Positive | None, Meta(description="Only the best so many; all if left out.")] = None
    return_documents: Annotated[bool | None, Meta(description="Put the texts into the answer (the default).")] = None
    instruct: Annotated[
        str | None, Meta(description="What the model should look for; by default it is web search.")
    ] = None
    truncate_prompt_tokens: Truncation | None = None


class RerankResult(msgspec.Struct, frozen=True, kw_only=True):
    """One document; `index` is its place in the request."""

    index: int
    relevance_score: Annotated[float, Meta(description="P(yes) of a reranker, cosine similarity of embeddings.")]
    document: TextDocument | UnsetType = UNSET


class RerankAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `POST /v1/rerank`, the best document first."""

    id: str
    model: str
    usage: SearchUsage
    results: list[RerankResult]
