"""Fields and answer parts that several routes share."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

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
from sgl_jax.server.openai.schema.response_format import ResponseFormat, StructuredOutputs


class StreamOptions(msgspec.Struct, kw_only=True):
    """What a stream says beside the text."""

    include_usage: Annotated[bool | None, Meta(description="Send a last chunk with `usage` and no choices.")] = None
    continuous_usage_stats: Annotated[bool | None, Meta(description="Put `usage` so far into every chunk.")] = None


class SamplingFields(msgspec.Struct, kw_only=True):
    """Request fields of every route where the model speaks. `null` means the default everywhere, as in OpenAI's API."""

    model: Annotated[str | None, Meta(description="The served model's name; none or `default` also mean it.")] = None
    temperature: Annotated[Temperature | None, Meta(description="0 takes the likeliest token always.")] = None
    top_p: Annotated[Probability | None, Meta(description="Nucleus sampling mass, in (0, 1].")] = None
    top_k: Annotated[TopK | None, Meta(description="Keep the k likeliest tokens; -1 keeps all.")] = None
    min_p: Annotated[
        Probability | None, Meta(description="Drop tokens less likely than this share of the likeliest.")
    ] = None
    stop: Annotated[StopStrings | None, Meta(description="Strings that end the text; they are not in it.")] = None
    stream: Annotated[bool | None, Meta(description="Send server-sent events as tokens come.")] = None
    seed: Annotated[int | None, Meta(description="Makes sampling reproducible.")] = None
    presence_penalty: Annotated[
        Penalty | None, Meta(description="Taken once from the logit of every token that the answer holds.")
    ] = None
    frequency_penalty: Annotated[
        Penalty | None, Meta(description="Taken from a token's logit for every time that the answer holds it.")
    ] = None
    logit_bias: Annotated[
        LogitBias | None, Meta(description="Token id -> what is added to its logit, -100 to 100.")
    ] = None
    user: Annotated[str | None, Meta(description="Tolerated, without effect.")] = None
    # Extensions that vLLM and SGLang share.
    repetition_penalty: Annotated[
        RepetitionPenalty | None, Meta(description="Weakens tokens that prompt or answer hold, above 1; 1 is none.")
    ] = None
    min_tokens: Annotated[
        NonNegative | None, Meta(description="Neither a stop token nor a stop string ends the answer before.")
    ] = None
    stop_token_ids: Annotated[list[int] | None, Meta(description="Token ids that end the sequence.")] = None
    ignore_eos: Annotated[bool | None, Meta(description="Go on after end-of-sequence tokens.")] = None
    skip_special_tokens: Annotated[bool | None, Meta(description="Leave special tokens out of the text.")] = None
    no_stop_trim: Annotated[bool | None, Meta(description="Keep what matched `stop` in the text.")] = None
    rid: Annotated[str | None, Meta(description="Your own id, by which `/abort_request` finds the request.")] = None
    priority: Annotated[
        Priority | None, Meta(description="Larger is more urgent, under `--schedule-policy=priority`.")
    ] = None
    lora_path: Annotated[str | None, Meta(description="Not supported yet.")] = None
    cache_salt: Annotated[
        CacheSalt | None, Meta(description="Share cached prefixes only with requests of the same salt.")
    ] = None


class GenerationFields(SamplingFields, kw_only=True):
    """Request fields of chat and plain completions."""

    max_tokens: Annotated[NonNegative | None, Meta(description="Most tokens to generate.")] = None
    n: Annotated[Siblings | None, Meta(description="Answers a prompt.")] = None
    stream_options: StreamOptions | None = None
    response_format: Annotated[ResponseFormat | None, Meta(description="The form that the answer must have.")] = None
    prompt_logprobs: Annotated[
        TopLogprobs | None,
        Meta(description="Log-probabilities of the prompt's tokens, and of so many likeliest ones; not in a stream."),
    ] = None
    regex: Annotated[str | None, Meta(description="A regular expression for the whole answer (Rust's syntax).")] = None
    ebnf: Annotated[str | None, Meta(description="A grammar for the answer: Lark's syntax or llama.cpp's GBNF.")] = None
    structural_tag: Annotated[
        str | dict[str, Any] | None, Meta(description="A structural tag in XGrammar's form, or SGLang's older one.")
    ] = None
    json_schema: Annotated[
        str | dict[str, Any] | None, Meta(description="A JSON schema for the answer, or its text.")
    ] = None
    choice: Annotated[list[str] | None, Meta(description="The answer is one of these.")] = None
    guided_json: Annotated[str | dict[str, Any] | None, Meta(description="vLLM's older `json_schema`.")] = None
    guided_regex: Annotated[str | None, Meta(description="vLLM's older `regex`.")] = None
    guided_choice: Annotated[list[str] | None, Meta(description="vLLM's older `choice`.")] = None
    guided_grammar: Annotated[str | None, Meta(description="vLLM's older `ebnf`.")] = None
    structured_outputs: Annotated[StructuredOutputs | None, Meta(description="vLLM's form of all these.")] = None


class PromptLogprob(msgspec.Struct, frozen=True):
    """How likely a token was at a place in the prompt. `rank` counts from 1; null beyond the likeliest asked for."""

    logprob: float
    rank: int | None
    decoded_token: str


PromptLogprobs = list[dict[str, PromptLogprob] | None]
"""vLLM's shape: for each token of the prompt its id and its likeliest rivals'; null for the first token."""


class PromptTokensDetails(msgspec.Struct, frozen=True):
    """Where prompt tokens came from."""

    cached_tokens: int = 0


class Usage(msgspec.Struct, frozen=True):
    """Real token counts. A prompt counts once, however many answers it has."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
