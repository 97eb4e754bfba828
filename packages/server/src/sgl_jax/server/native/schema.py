"""`POST /generate`: SGLang's native request and answer."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from sgl_jax.server.bounds import (
    CacheSalt,
    LogitBias,
    NonNegative,
    Penalty,
    Priority,
    Probability,
    RepetitionPenalty,
    Siblings,
    StopStrings,
    Temperature,
    TopK,
    TopLogprobs,
)

DEFAULT_MAX_NEW_TOKENS = 128
PromptStart = Annotated[int, Meta(ge=-1, le=2**31 - 1)]


class NativeSamplingParams(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How to sample, under SGLang's names. An unknown name is an error."""

    max_new_tokens: Annotated[
        NonNegative | UnsetType | None, Meta(description="128 if left out; null goes on up to the context window.")
    ] = UNSET
    temperature: Annotated[Temperature, Meta(description="0 takes the likeliest token always.")] = 1.0
    top_p: Probability = 1.0
    top_k: TopK = -1
    min_p: Probability = 0.0
    stop: StopStrings | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    spaces_between_special_tokens: Annotated[bool, Meta(description="Tolerated, without effect.")] = True
    no_stop_trim: bool = False
    n: Siblings = 1
    seed: Annotated[int | None, Meta(description="Makes sampling reproducible.")] = None
    sampling_seed: Annotated[int | None, Meta(description="SGLang's name for `seed`.")] = None
    presence_penalty: Annotated[
        Penalty | None, Meta(description="Taken once from the logit of every token that the answer holds.")
    ] = None
    frequency_penalty: Annotated[
        Penalty | None, Meta(description="Taken from a token's logit for every time that the answer holds it.")
    ] = None
    repetition_penalty: Annotated[
        RepetitionPenalty | None, Meta(description="Weakens tokens that prompt or answer hold, above 1; 1 is none.")
    ] = None
    min_new_tokens: Annotated[
        NonNegative | None, Meta(description="Neither a stop token nor a stop string ends the answer before.")
    ] = None
    logit_bias: Annotated[
        LogitBias | None, Meta(description="Token id -> what is added to its logit, -100 to 100.")
    ] = None
    json_schema: Annotated[
        str | dict[str, Any] | None, Meta(description="A JSON schema for the text, or its text.")
    ] = None
    regex: Annotated[str | None, Meta(description="A regular expression for the whole text (Rust's syntax).")] = None
    ebnf: Annotated[str | None, Meta(description="A grammar for the text: Lark's syntax or llama.cpp's GBNF.")] = None
    structural_tag: Annotated[
        str | dict[str, Any] | None, Meta(description="A structural tag in XGrammar's form, or SGLang's older one.")
    ] = None
    stop_regex: Annotated[str | list[str] | None, Meta(description="Not supported yet, except empty.")] = None
    stream_interval: Annotated[int | None, Meta(description="Only 1: `--stream-interval` is for all requests.")] = None
    custom_params: Annotated[dict[str, Any] | None, Meta(description="Not supported yet, except empty.")] = None


class NativeRequest(msgspec.Struct, kw_only=True):
    """Body of `POST /generate`: one prompt, or a batch of them."""

    text: Annotated[str | list[str] | None, Meta(description="Prompt text, or a list of them.")] = None
    input_ids: Annotated[
        list[int | list[int]] | None, Meta(description="Prompt token ids, or a list of such lists.")
    ] = None
    sampling_params: Annotated[
        NativeSamplingParams | list[NativeSamplingParams] | None, Meta(description="For all prompts, or one each.")
    ] = None
    stream: bool | None = None
    incremental: Annotated[
        bool | None,
        Meta(description="Stream deltas (`--incremental-stream-output`); else text and ids grow with each event."),
    ] = None
    rid: Annotated[str | list[str] | None, Meta(description="Your own id, or one a prompt.")] = None
    return_logprob: Annotated[
        bool | list[bool] | None, Meta(description="Return log-probabilities: for all prompts, or one each.")
    ] = None
    top_logprobs_num: Annotated[
        TopLogprobs | list[TopLogprobs] | None,
        Meta(description="And those of so many likeliest tokens: for all prompts, or one each."),
    ] = None
    return_text_in_logprobs: bool | None = None
    logprob_start_len: Annotated[
        PromptStart | list[PromptStart] | None,
        Meta(description="Those of the prompt, too, from this token on; -1 for none. For all prompts, or one each."),
    ] = None
    token_ids_logprob: Annotated[
        list[int | list[int]] | None,
        Meta(description="With `return_logprob`: of these tokens at every position, too; a list, or one a prompt."),
    ] = None
    lora_path: Annotated[str | list[str | None] | None, Meta(description="Not supported yet.")] = None
    priority: Annotated[
        Priority | None, Meta(description="Larger is more urgent, under `--schedule-policy=priority`.")
    ] = None
    cache_salt: Annotated[
        CacheSalt | None, Meta(description="Share cached prefixes only with requests of the same salt.")
    ] = None
    model: str | None = None


LogprobEntry = tuple[float | None, int, str | None]
"""Log-probability (null for a prompt's first token), token id, and the token's text if it was asked for."""


class NativeFinishReason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why the text ended: `stop` (what matched), `length` (the bound) or `abort` (a message)."""

    type: str
    matched: int | str | None = None
    length: int | None = None
    message: str | None = None


class MetaInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about one answer. The log-probability lists are there when they were asked for."""

    id: str
    finish_reason: NativeFinishReason | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    e2e_latency: Annotated[float, Meta(description="Seconds from the request's arrival.")]
    weight_version: str = "default"
    input_token_logprobs: list[LogprobEntry] | UnsetType = UNSET
    output_token_logprobs: list[LogprobEntry] | UnsetType = UNSET
    input_top_logprobs: list[list[LogprobEntry] | None] | UnsetType = UNSET
    output_top_logprobs: list[list[LogprobEntry]] | UnsetType = UNSET
    input_token_ids_logprobs: list[list[LogprobEntry] | None] | UnsetType = UNSET
    output_token_ids_logprobs: list[list[LogprobEntry]] | UnsetType = UNSET


class NativeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer for one prompt; a batch gets a list of them. In a stream, `index` tells them apart."""

    text: str
    output_ids: list[int]
    meta_info: MetaInfo
    index: int | UnsetType = UNSET


class AbortBody(msgspec.Struct, kw_only=True):
    """Body of `POST /abort_request`."""

    rid: Annotated[str | None, Meta(description="The request's `rid`, or the `id` of its answer.")] = None
    abort_all: bool | None = None


class Aborted(msgspec.Struct, frozen=True):
    """How many sequences were running under that id."""

    aborted: int
