"""`POST /v1/chat/completions`: request, answer, chunk."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from sgl_jax.server.bounds import NonNegative, TopLogprobs
from sgl_jax.server.openai.schema.common import GenerationFields, PromptLogprobs, Usage
from sgl_jax.server.openai.schema.tools import AnswerToolCall, Tool, ToolCall, ToolCallDelta, ToolChoice


class ContentPart(msgspec.Struct, kw_only=True):
    """One part of a message's content. Only text parts are supported."""

    type: str
    text: str | None = None


class ChatMessage(msgspec.Struct, kw_only=True):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None


class ChatRequest(GenerationFields, kw_only=True):
    """Body of `POST /v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1, description="The conversation so far.")]
    max_completion_tokens: Annotated[
        NonNegative | None, Meta(description="Most tokens to generate; goes before `max_tokens`.")
    ] = None
    logprobs: Annotated[bool | None, Meta(description="Return each token's log-probability.")] = None
    top_logprobs: Annotated[TopLogprobs | None, Meta(description="And those of so many likeliest tokens.")] = None
    tools: Annotated[list[Tool] | None, Meta(description="Functions that the model may call.")] = None
    tool_choice: Annotated[
        ToolChoice | None,
        Meta(description="`auto` (default with tools), `none`, `required` (one call or more), or a function by name."),
    ] = None
    parallel_tool_calls: Annotated[bool | None, Meta(description="Whether an answer may hold several calls.")] = None
    reasoning_effort: Annotated[str | None, Meta(description="Handed to the chat template.")] = None
    metadata: Annotated[dict[str, Any] | None, Meta(description="Tolerated, without effect.")] = None
    store: Annotated[bool | None, Meta(description="Tolerated; nothing is stored.")] = None
    chat_template_kwargs: Annotated[
        dict[str, Any] | None, Meta(description="Variables for the chat template, e.g. `enable_thinking`.")
    ] = None
    add_generation_prompt: Annotated[bool | None, Meta(description="Open the assistant's turn (default).")] = None
    continue_final_message: Annotated[
        bool | None, Meta(description="Go on with the last message instead of opening a new turn.")
    ] = None
    enable_thinking: Annotated[
        bool | None, Meta(description="Handed to the chat template: whether the model reasons before it answers.")
    ] = None
    separate_reasoning: Annotated[
        bool | None, Meta(description="Tell reasoning from the answer (default), or leave it in `content`.")
    ] = None
    stream_reasoning: Annotated[
        bool | None, Meta(description="Stream reasoning as it comes (default), or in one piece when it ends.")
    ] = None


class TopLogprob(msgspec.Struct, frozen=True):
    """One of the likeliest tokens at a position."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(msgspec.Struct, frozen=True):
    """A generated token with its log-probability. `bytes` is exact where `token` cannot be."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


class ChatLogprobs(msgspec.Struct, frozen=True):
    """Log-probabilities of an answer's tokens."""

    content: list[TokenLogprob]
    refusal: list[TokenLogprob] | None = None


class AssistantMessage(msgspec.Struct, frozen=True):
    """What the model said. `content` is null when it only called tools."""

    content: str | None
    role: Literal["assistant"] = "assistant"
    refusal: str | None = None
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[AnswerToolCall] | UnsetType = UNSET


class ChatChoice(msgspec.Struct, frozen=True):
    """One answer. `matched_stop` is the stop string or token id that ended it."""

    index: int
    message: AssistantMessage
    finish_reason: str
    logprobs: ChatLogprobs | None = None
    matched_stop: int | str | None = None


class ChatCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `POST /v1/chat/completions`."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    prompt_logprobs: PromptLogprobs | UnsetType = UNSET


class Delta(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a chunk adds to a message."""

    content: str | None = None
    role: Literal["assistant"] | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCallDelta] | None = None


class ChunkChoice(msgspec.Struct, frozen=True):
    """One answer's part of a chunk."""

    index: int
    delta: Delta
    finish_reason: str | None = None
    logprobs: ChatLogprobs | None = None
    matched_stop: int | str | UnsetType | None = UNSET


class ChatChunk(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a streamed answer."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | UnsetType | None = UNSET
