"""Answers of `POST /v1/chat/completions`: whole, and in chunks."""

from __future__ import annotations

from pydantic import Field

from sgl_jax.client.types._base import PromptLogprob, ServerModel, Usage


class FunctionCall(ServerModel):
    """A function that the model wants called; `arguments` is JSON text."""

    name: str = ""
    arguments: str = ""


class ToolCall(ServerModel):
    """One tool call of an assistant's message."""

    id: str = ""
    type: str = "function"
    function: FunctionCall = Field(default_factory=FunctionCall)


class ChatMessage(ServerModel):
    """One message. Append it to the next request's `messages` as it is."""

    role: str = "assistant"
    content: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None

    @property
    def text(self) -> str:
        """The content, or an empty string where the message has none."""
        return self.content or ""


class TopLogprob(ServerModel):
    """One of the likeliest tokens at a position."""

    token: str = ""
    logprob: float = 0.0
    bytes: list[int] | None = None


class TokenLogprob(TopLogprob):
    """The generated token at a position, and the likeliest ones there, best first."""

    top_logprobs: list[TopLogprob] = Field(default_factory=list)


class ChatLogprobs(ServerModel):
    """Log-probabilities of a choice, one entry a generated token."""

    content: list[TokenLogprob] | None = None
    refusal: list[TokenLogprob] | None = None


class ChatChoice(ServerModel):
    """One of the `n` answers.

    `finish_reason` is `stop`, `length`, `tool_calls` or `abort`; `matched_stop` is the stop string or token id.
    """

    index: int = 0
    message: ChatMessage = Field(default_factory=ChatMessage)
    logprobs: ChatLogprobs | None = None
    finish_reason: str | None = None
    matched_stop: int | str | None = None


class ChatCompletion(ServerModel):
    """A whole answer."""

    id: str = ""
    object: str = "chat.completion"
    created: int = 0
    model: str = ""
    choices: list[ChatChoice] = Field(default_factory=list)
    usage: Usage | None = None
    prompt_logprobs: list[dict[str, PromptLogprob] | None] | None = None

    @property
    def message(self) -> ChatMessage:
        """The first choice's message; an empty one when there is no choice."""
        return self.choices[0].message if self.choices else ChatMessage()

    @property
    def text(self) -> str:
        """The first choice's text."""
        return self.message.text


class FunctionCallDelta(ServerModel):
    """A piece of a function call; `arguments` continue the pieces before."""

    name: str | None = None
    arguments: str | None = None


class ToolCallDelta(ServerModel):
    """A piece of the tool call number `index`."""

    index: int = 0
    id: str | None = None
    type: str | None = None
    function: FunctionCallDelta | None = None


class ChatDelta(ServerModel):
    """What a chunk adds to a message."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCallDelta] | None = None


class ChatChunkChoice(ServerModel):
    """What a chunk adds to one of the `n` answers; `finish_reason` comes with the last."""

    index: int = 0
    delta: ChatDelta = Field(default_factory=ChatDelta)
    logprobs: ChatLogprobs | None = None
    finish_reason: str | None = None
    matched_stop: int | str | None = None


class ChatCompletionChunk(ServerModel):
    """One event of a streamed answer. The chunk that carries `usage` may have no choices."""

    id: str = ""
    object: str = "chat.completion.chunk"
    created: int = 0
    model: str = ""
    choices: list[ChatChunkChoice] = Field(default_factory=list)
    usage: Usage | None = None

    @property
    def text(self) -> str:
        """The text that this chunk adds to the first choice."""
        return "".join(choice.delta.content or "" for choice in self.choices if choice.index == 0)
