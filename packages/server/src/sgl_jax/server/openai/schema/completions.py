"""`POST /v1/completions`: request, answer and chunk."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from sgl_jax.server.bounds import Siblings, TopLogprobs
from sgl_jax.server.openai.schema.common import GenerationFields, PromptLogprobs, Usage


class CompletionRequest(GenerationFields, kw_only=True):
    """Body of `POST /v1/completions`."""

    prompt: Annotated[
        str | list[str | int | list[int]],
        Meta(description="A text, a list of texts, token ids, or a list of token id lists."),
    ]
    best_of: Annotated[
        Siblings | None,
        Meta(description="Draw so many and answer with the `n` likeliest, by their tokens' mean log-probability."),
    ] = None
    echo: Annotated[bool | None, Meta(description="Put the prompt before the text.")] = None
    suffix: Annotated[str | None, Meta(description="Not supported.")] = None
    logprobs: Annotated[
        TopLogprobs | None,
        Meta(description="Return log-probabilities, and those of so many likeliest tokens."),
    ] = None


class CompletionLogprobs(msgspec.Struct, frozen=True):
    """Log-probabilities in columns, one entry a token; `text_offset` counts characters of the text.

    `top_logprobs` has the token itself, too, where that is none of the likeliest.
    """

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class CompletionChoice(msgspec.Struct, frozen=True):
    """One text, whole or (in a stream) its next part."""

    index: int
    text: str
    finish_reason: str | None = None
    logprobs: CompletionLogprobs | None = None
    matched_stop: int | str | None = None
    prompt_logprobs: PromptLogprobs | UnsetType = UNSET


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `POST /v1/completions`, and each event of its stream."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | UnsetType | None = UNSET
