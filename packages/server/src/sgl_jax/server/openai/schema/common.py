"""Fields and answer parts that chat and plain completions share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from sgl_jax.server.bounds import (
    CacheSalt,
    NonNegative,
    Penalty,
    Priority,
    Probability,
    Siblings,
    StopStrings,
    Temperature,
    TopK,
)


class StreamOptions(msgspec.Struct, kw_only=True):
    """What a stream says beside the text."""

    include_usage: Annotated[bool | None, Meta(description="Send a last chunk with `usage` and no choices.")] = None
    continuous_usage_stats: Annotated[bool | None, Meta(description="Put `usage` so far into every chunk.")] = None


class ResponseFormat(msgspec.Struct, kw_only=True):
    """The form that the answer must have."""

    type: Literal["text", "json_object", "json_schema", "structural_tag"]
    json_schema: dict[str, Any] | None = None


class GenerationFields(msgspec.Struct, kw_only=True):
    """Request fields of both routes. `null` means the default everywhere, as in OpenAI's API."""

    model: Annotated[str | None, Meta(description="The served model's name; none or `default` also mean it.")] = None
    max_tokens: Annotated[NonNegative | None, Meta(description="Most tokens to generate.")] = None
    temperature: Annotated[Temperature | None, Meta(description="0 takes the likeliest token always.")] = None
    top_p: Annotated[Probability | None, Meta(description="Nucleus sampling mass, in (0, 1].")] = None
    top_k: Annotated[TopK | None, Meta(description="Keep the k likeliest tokens; -1 keeps all.")] = None
    min_p: Annotated[
        Probability | None, Meta(description="Drop tokens less likely than this share of the likeliest.")
    ] = None
    n: Annotated[Siblings | None, Meta(description="Answers a prompt.")] = None
    stop: Annotated[StopStrings | None, Meta(description="Strings that end the text; they are not in it.")] = None
    stream: Annotated[bool | None, Meta(description="Send server-sent events as tokens come.")] = None
    stream_options: StreamOptions | None = None
    seed: Annotated[int | None, Meta(description="Makes sampling reproducible.")] = None
    presence_penalty: Annotated[Penalty | None, Meta(description="Not supported yet, except 0.")] = None
    frequency_penalty: Annotated[Penalty | None, Meta(description="Not supported yet, except 0.")] = None
    logit_bias: Annotated[dict[str, float] | None, Meta(description="Not supported yet, except empty.")] = None
    response_format: Annotated[ResponseFormat | None, Meta(description="Only `text` is supported yet.")] = None
    user: Annotated[str | None, Meta(description="Tolerated, without effect.")] = None
    # Extensions that vLLM and SGLang share.
    repetition_penalty: Annotated[float | None, Meta(description="Not supported yet, except 1.")] = None
    min_tokens: Annotated[NonNegative | None, Meta(description="Not supported yet, except 0.")] = None
    stop_token_ids: Annotated[list[int] | None, Meta(description="Token ids that end the sequence.")] = None
    ignore_eos: Annotated[bool | None, Meta(description="Go on after end-of-sequence tokens.")] = None
    skip_special_tokens: Annotated[bool | None, Meta(description="Leave special tokens out of the text.")] = None
    no_stop_trim: Annotated[bool | None, Meta(description="Keep what matched `stop` in the text.")] = None
    regex: Annotated[str | None, Meta(description="Not supported yet.")] = None
    ebnf: Annotated[str | None, Meta(description="Not supported yet.")] = None
    structural_tag: Annotated[Any, Meta(description="Not supported yet.")] = None
    json_schema: Annotated[Any, Meta(description="Not supported yet.")] = None
    rid: Annotated[str | None, Meta(description="Your own id, by which `/abort_request` finds the request.")] = None
    priority: Annotated[
        Priority | None, Meta(description="Larger is more urgent, under `--schedule-policy=priority`.")
    ] = None
    lora_path: Annotated[str | None, Meta(description="Not supported yet.")] = None
    cache_salt: Annotated[
        CacheSalt | None, Meta(description="Share cached prefixes only with requests of the same salt.")
    ] = None


class PromptTokensDetails(msgspec.Struct, frozen=True):
    """Where prompt tokens came from."""

    cached_tokens: int = 0


class Usage(msgspec.Struct, frozen=True):
    """Real token counts. A prompt counts once, however many answers it has."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
