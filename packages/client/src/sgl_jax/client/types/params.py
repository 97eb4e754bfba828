"""Keyword arguments of the calls. Leaving one out, or giving None, means the server's default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Required, TypeAlias, TypedDict

if TYPE_CHECKING:
    import httpx

    from sgl_jax.client.types.chat import ChatMessage

MessageParam: TypeAlias = "Mapping[str, Any] | ChatMessage"
"""One message: `{"role": "user", "content": "Hello!"}`, or one that the server answered."""

Messages: TypeAlias = "str | Sequence[MessageParam]"
"""A conversation; a string is one user message."""

Prompt: TypeAlias = str | list[str] | list[int] | list[list[int]]
"""Text or token ids; a list of either is a batch."""

Timeout: TypeAlias = "float | httpx.Timeout | None"
"""Seconds for connecting and for each wait for bytes (`httpx.Timeout` tells them apart); None waits for ever."""


class RequestOptions(TypedDict, total=False):
    """How to send, for every call."""

    timeout: Timeout
    """Overrides the client's timeout."""
    deadline: float | None
    """Seconds for all of this call: retries, pauses, and the reading of a stream. Overrides the client's, if any."""
    extra_headers: Mapping[str, str]
    """Sent with this request, over the client's own headers."""
    extra_body: Mapping[str, Any]
    """Fields that the client does not know by name; they win over those that it does."""


class StreamOptions(TypedDict, total=False):
    """What a stream carries beside text."""

    include_usage: bool
    """Send token counts at the end."""


class JsonSchema(TypedDict, total=False):
    """A JSON schema for an answer."""

    name: Required[str]
    schema: Required[Mapping[str, Any]]
    description: str
    strict: bool | None
    """True closes objects where the schema does not say; False passes over what cannot be kept to."""


class TextFormat(TypedDict):
    """No form in particular."""

    type: Literal["text"]


class JsonObjectFormat(TypedDict):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchemaFormat(TypedDict):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


class StructuralTagFormat(TypedDict, total=False):
    """Text with parts of fixed form: a tree under `format`, or SGLang's older `structures` and `triggers`."""

    type: Required[Literal["structural_tag"]]
    format: Mapping[str, Any]
    structures: Sequence[Mapping[str, Any]]
    triggers: Sequence[str]


ResponseFormat: TypeAlias = TextFormat | JsonObjectFormat | JsonSchemaFormat | StructuralTagFormat
"""The form that an answer must have."""


class _FormParams(TypedDict, total=False):
    """The form of an answer; at most one of these."""

    response_format: ResponseFormat | None
    json_schema: str | Mapping[str, Any] | None
    regex: str | None
    ebnf: str | None
    structural_tag: str | Mapping[str, Any] | None
    choice: Sequence[str] | None
    """The answer is one of these."""


class _OpenAIParams(RequestOptions, total=False):
    """What chat and completions share."""

    model: str | None
    """Left out: the model that the server serves."""
    max_tokens: int | None
    temperature: float | None
    """0 is exactly greedy."""
    top_p: float | None
    top_k: int | None
    min_p: float | None
    seed: int | None
    """Makes sampling reproducible, whatever else is in the batch."""
    stop: str | Sequence[str] | None
    stop_token_ids: Sequence[int] | None
    ignore_eos: bool | None
    skip_special_tokens: bool | None
    prompt_logprobs: int | None
    """Log-probabilities of the prompt's tokens, and of so many likeliest ones; not in a stream."""
    n: int | None
    presence_penalty: float | None
    frequency_penalty: float | None
    repetition_penalty: float | None
    """Over prompt and answer; 1 is none."""
    logit_bias: Mapping[str, float] | None
    """Token id, as a string, to a value in [-100, 100]."""
    min_tokens: int | None
    """Nothing ends the answer before so many tokens."""
    rid: str | Sequence[str] | None
    """The request's own id, for abort and for the log."""
    priority: int | None
    stream_options: StreamOptions | None
    user: str | None


class ParseParams(_OpenAIParams, total=False):
    """Keyword arguments of `client.chat.parse(...)`."""

    max_completion_tokens: int | None
    logprobs: bool | None
    top_logprobs: int | None
    reasoning_effort: str | None
    chat_template_kwargs: Mapping[str, Any] | None
    separate_reasoning: bool | None
    continue_final_message: bool | None
    add_generation_prompt: bool | None
    metadata: Mapping[str, Any] | None


class RunToolsParams(ParseParams, _FormParams, total=False):
    """Keyword arguments of `client.chat.run_tools(...)`."""

    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None


class ChatParams(RunToolsParams, total=False):
    """Keyword arguments of `client.chat(...)` and `client.chat.completions.create(...)`."""

    tools: Sequence[Mapping[str, Any]] | None


class CompletionParams(_OpenAIParams, _FormParams, total=False):
    """Keyword arguments of `client.completions.create(...)`."""

    echo: bool | None
    logprobs: int | None
    best_of: int | None
    suffix: str | None


class TemplateParams(RequestOptions, total=False):
    """Keyword arguments of `client.apply_template(...)`."""

    model: str | None
    tools: Sequence[Mapping[str, Any]] | None
    """What the template tells the model of."""
    add_generation_prompt: bool | None
    continue_final_message: bool | None
    chat_template_kwargs: Mapping[str, Any] | None


class TokenizeParams(TemplateParams, total=False):
    """Keyword arguments of `client.tokenize(...)`."""

    add_special_tokens: bool | None
    """Left out: true for a text, false for a conversation, whose template has them."""
    return_token_strs: bool | None
    """Also give the vocabulary's spelling of each token."""


class SamplingParams(TypedDict, total=False):
    """SGLang's names for how to sample, as `client.generate(..., sampling_params=...)` takes them."""

    max_new_tokens: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    seed: int
    stop: str | Sequence[str]
    stop_token_ids: Sequence[int]
    ignore_eos: bool
    skip_special_tokens: bool
    no_stop_trim: bool
    n: int
    presence_penalty: float
    frequency_penalty: float
    repetition_penalty: float
    min_new_tokens: int
    logit_bias: Mapping[str, float]
    json_schema: str | Mapping[str, Any]
    regex: str
    ebnf: str
    structural_tag: str | Mapping[str, Any]
    """At most one of these four: the text has the form that it says."""


class GenerateParams(RequestOptions, total=False):
    """Keyword arguments of `client.generate(...)`."""

    sampling_params: SamplingParams | Sequence[SamplingParams] | None
    """One for all prompts, or one each."""
    rid: str | Sequence[str] | None
    """The request's own id, for abort and for the log."""
    incremental: bool | None
    """Whether each event of a stream brings only what is new, or all so far; it makes no difference but in traffic."""
    return_logprob: bool | Sequence[bool] | None
    logprob_start_len: int | Sequence[int] | None
    top_logprobs_num: int | Sequence[int] | None
    """These three, too, are one for all prompts, or one each."""
    token_ids_logprob: Sequence[int] | Sequence[Sequence[int]] | None
    """Of these tokens, too; one list for all prompts, or one each."""
    return_text_in_logprobs: bool | None
