"""The answer of `/v1/responses`, and the items that it is made of."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from sgl_jax.server.openai.responses.schema import FunctionTool, ReasoningConfig, TextConfig, ToolChoiceObject
from sgl_jax.server.openai.schema.chat import TokenLogprob

Status = Literal["in_progress", "completed", "incomplete", "failed"]


class OutputText(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="output_text"):
    """Text for the reader."""

    text: str
    annotations: list[Any] = []
    logprobs: list[TokenLogprob] = []


class ReasoningText(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="reasoning_text"):
    """What the model wrote to itself."""

    text: str


class MessageItem(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """What the model says to the reader."""

    id: str
    status: Status
    role: Literal["assistant"] = "assistant"
    content: list[OutputText]


class FunctionCallItem(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="function_call"):
    """A function that the model wants called; `arguments` is JSON text."""

    id: str
    status: Status
    call_id: str
    name: str
    arguments: str


class ReasoningItem(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="reasoning"):
    """The model's reasoning, as it is: there is no summary."""

    id: str
    status: Status
    summary: list[Any] = []
    content: list[ReasoningText]
    encrypted_content: None = None


OutputItem = MessageItem | FunctionCallItem | ReasoningItem


class IncompleteDetails(msgspec.Struct, frozen=True):
    """Why an answer ended before the model ended it: `max_output_tokens`, or `abort`."""

    reason: str


class ResponseErrorDetail(msgspec.Struct, frozen=True):
    """Why an answer failed after it had begun."""

    code: str
    message: str


class InputTokensDetails(msgspec.Struct, frozen=True):
    """Where input tokens came from."""

    cached_tokens: int
    cache_write_tokens: int = 0


class OutputTokensDetails(msgspec.Struct, frozen=True):
    """What output tokens were spent on."""

    reasoning_tokens: int


class ResponseUsage(msgspec.Struct, frozen=True):
    """Real token counts."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class ResponseObject(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `/v1/responses`: what was said, and the request's own fields again."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: Status
    completed_at: int | None = None
    error: ResponseErrorDetail | None = None
    incomplete_details: IncompleteDetails | None = None
    model: str
    output: list[OutputItem]
    usage: ResponseUsage | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool = True
    background: bool = False
    max_output_tokens: int | None = None
    parallel_tool_calls: bool = True
    tools: list[FunctionTool] = []
    tool_choice: str | ToolChoiceObject = "auto"
    text: TextConfig
    reasoning: ReasoningConfig
    temperature: float = 1.0
    top_p: float = 1.0
    top_logprobs: int = 0
    truncation: str = "disabled"
    service_tier: str = "default"
    metadata: dict[str, str] = {}
    user: str | None = None


class DeletedResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A stored answer is no more."""

    id: str
    object: Literal["response"] = "response"
    deleted: bool = True
