"""Answers of SGLang's native `POST /generate`."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from sgl_jax.client.types._base import ServerModel

Logprob = tuple[float | None, int, str | None]
"""Log-probability (None for a prompt's first token), token id, and the token's text when asked for."""


class FinishReason(ServerModel):
    """Why generation ended: `type` is `stop`, `length` or `abort`; `matched` is the stop string or token id."""

    type: str = ""
    matched: int | str | None = None
    length: int | None = None
    message: str | None = None


class MetaInfo(ServerModel):
    """Counts and facts about one generation. `finish_reason` is None until the last event of a stream."""

    id: str = ""
    finish_reason: FinishReason | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    e2e_latency: float | None = None
    input_token_logprobs: list[Logprob] | None = None
    output_token_logprobs: list[Logprob] | None = None
    input_top_logprobs: list[list[Logprob] | None] | None = None
    output_top_logprobs: list[list[Logprob]] | None = None
    input_token_ids_logprobs: list[list[Logprob] | None] | None = None
    output_token_ids_logprobs: list[list[Logprob]] | None = None
    weight_version: str | None = None

    @field_validator("finish_reason", mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        """Some servers send the bare name instead of an object."""
        return {"type": value} if isinstance(value, str) else value


class GenerateResponse(ServerModel):
    """One generation, or one event of a streamed one (its text is then all text so far).

    `index` tells the generations of a streamed batch apart.
    """

    text: str = ""
    output_ids: list[int] = Field(default_factory=list)
    meta_info: MetaInfo = Field(default_factory=MetaInfo)
    index: int | None = None
