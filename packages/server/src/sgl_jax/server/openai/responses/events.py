"""The events of a streamed answer of `/v1/responses`; `type` is the name of each."""

from __future__ import annotations

import msgspec

from sgl_jax.server.openai.responses.items import OutputItem, OutputText, ReasoningText, ResponseObject
from sgl_jax.server.openai.schema.chat import TokenLogprob


class ResponseEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Any of them. `sequence_number` counts them from 0."""

    sequence_number: int


class _Lifecycle(ResponseEvent, frozen=True, kw_only=True):
    response: ResponseObject


class Created(_Lifecycle, frozen=True, kw_only=True, tag="response.created"):
    """The first of all."""


class InProgress(_Lifecycle, frozen=True, kw_only=True, tag="response.in_progress"):
    """The second."""


class Completed(_Lifecycle, frozen=True, kw_only=True, tag="response.completed"):
    """The last, where the model came to its end."""


class Incomplete(_Lifecycle, frozen=True, kw_only=True, tag="response.incomplete"):
    """The last, where it was ended."""


class Failed(_Lifecycle, frozen=True, kw_only=True, tag="response.failed"):
    """The last, where the server could not go on."""


class _OfItem(ResponseEvent, frozen=True, kw_only=True):
    output_index: int
    item: OutputItem


class ItemAdded(_OfItem, frozen=True, kw_only=True, tag="response.output_item.added"):
    """An item begins."""


class ItemDone(_OfItem, frozen=True, kw_only=True, tag="response.output_item.done"):
    """An item, whole."""


class _WithinItem(ResponseEvent, frozen=True, kw_only=True):
    item_id: str
    output_index: int


class _OfPart(_WithinItem, frozen=True, kw_only=True):
    content_index: int = 0
    part: OutputText | ReasoningText


class PartAdded(_OfPart, frozen=True, kw_only=True, tag="response.content_part.added"):
    """The only part of a message, or of reasoning, begins."""


class PartDone(_OfPart, frozen=True, kw_only=True, tag="response.content_part.done"):
    """That part, whole."""


class TextDelta(_WithinItem, frozen=True, kw_only=True, tag="response.output_text.delta"):
    """More text."""

    content_index: int = 0
    delta: str
    logprobs: list[TokenLogprob] = []


class TextDone(_WithinItem, frozen=True, kw_only=True, tag="response.output_text.done"):
    """The text, whole."""

    content_index: int = 0
    text: str
    logprobs: list[TokenLogprob] = []


class ReasoningDelta(_WithinItem, frozen=True, kw_only=True, tag="response.reasoning_text.delta"):
    """More reasoning."""

    content_index: int = 0
    delta: str


class ReasoningDone(_WithinItem, frozen=True, kw_only=True, tag="response.reasoning_text.done"):
    """The reasoning, whole."""

    content_index: int = 0
    text: str


class ArgumentsDelta(_WithinItem, frozen=True, kw_only=True, tag="response.function_call_arguments.delta"):
    """More of a call's arguments."""

    delta: str


class ArgumentsDone(_WithinItem, frozen=True, kw_only=True, tag="response.function_call_arguments.done"):
    """A call's arguments, whole."""

    name: str
    arguments: str
