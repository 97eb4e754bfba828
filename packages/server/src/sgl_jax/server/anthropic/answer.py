"""A transcript -> the answer of `/v1/messages`, whole and as events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from sgl_jax.server.anthropic import message as said
from sgl_jax.server.anthropic.error_body import anthropic_error
from sgl_jax.server.anthropic.message import AnswerBlock, AnthropicUsage, MessageEvent, MessageObject, ThinkingTokens
from sgl_jax.server.context import ServerContext
from sgl_jax.server.errors import ApiError
from sgl_jax.server.generation import Job
from sgl_jax.server.sse import event, named_event
from sgl_jax.server.transcript import Block, Change, Closed, Grown, Kind, Opened, Transcript

PING = named_event(said.Ping())
_INPUT = msgspec.json.Decoder(dict[str, Any])


class Writer:
    """Writes one answer down.

    Args:
        max_tokens: as the request had it.
        thinking: whether reasoning is part of the answer.
    """

    def __init__(self, context: ServerContext, job: Job, *, max_tokens: int, thinking: bool) -> None:
        self.transcript = Transcript(job)
        self._id = job.id
        self._model = context.served_model_name
        self._max_tokens = max_tokens
        self._shown = {Kind.TEXT, Kind.CALL, Kind.REASONING} if thinking else {Kind.TEXT, Kind.CALL}
        self._begun = False
        self._index = -1  # of the latest block that was shown

    def message(self) -> MessageObject:
        """The answer, which has come to its end."""
        reason, sequence = self._stop()
        return MessageObject(
            id=self._id,
            model=self._model,
            content=[_written(block) for block in self.transcript.blocks if block.kind in self._shown],
            stop_reason=reason,
            stop_sequence=sequence,
            usage=self._usage(),
        )

    def follow(self, changes: Sequence[Change]) -> list[MessageEvent]:
        """The events that tell of changes in the transcript; the first time also that of the beginning."""
        events: list[MessageEvent] = []
        if not self._begun:
            self._begun = True
            empty = MessageObject(id=self._id, model=self._model, content=[], usage=self._usage())
            events.append(said.MessageStart(empty))
        for change in changes:
            if change.block.kind not in self._shown:
                continue
            match change:
                case Opened(block):
                    self._index += 1
                    events.append(said.BlockStart(self._index, _empty(block)))
                case Grown(block, text):
                    events.append(said.BlockDelta(self._index, _delta(block, text)))
                case Closed():
                    events.append(said.BlockStop(self._index))
        return events

    def end(self) -> list[MessageEvent]:
        """The last events."""
        return [said.MessageDelta(said.StopDelta(*self._stop()), self._usage()), said.MessageStop()]

    def _stop(self) -> tuple[str, str | None]:
        finish = self.transcript.finish
        if finish is None or finish.reason not in ("stop", "length"):
            return "abort", None
        if finish.reason == "length":
            is_full = self.transcript.usage.usage().completion_tokens < self._max_tokens
            return "model_context_window_exceeded" if is_full else "max_tokens", None
        if self.transcript.called:
            return "tool_use", None
        if isinstance(finish.matched, str):
            return "stop_sequence", finish.matched
        return "end_turn", None

    def _usage(self) -> AnthropicUsage:
        counted = self.transcript.usage.usage()
        cached = counted.prompt_tokens_details.cached_tokens
        return AnthropicUsage(
            input_tokens=counted.prompt_tokens - cached,
            cache_read_input_tokens=cached,
            output_tokens=counted.completion_tokens,
            output_tokens_details=ThinkingTokens(self.transcript.reasoning_tokens),
        )


def failed(error: ApiError) -> bytes:
    """The last event of an answer that failed after its stream had begun, encoded."""
    return b"event: error\n" + event(anthropic_error(error.status, error.detail.message))


def _empty(block: Block) -> AnswerBlock:
    match block.kind:
        case Kind.TEXT:
            return said.TextBlock(text="")
        case Kind.REASONING:
            return said.ThinkingBlock(thinking="")
        case Kind.CALL:
            return said.ToolUseBlock(id=block.call_id, name=block.name, input={})


def _written(block: Block) -> AnswerBlock:
    match block.kind:
        case Kind.TEXT:
            return said.TextBlock(text=block.text)
        case Kind.REASONING:
            return said.ThinkingBlock(thinking=block.text)
        case Kind.CALL:
            return said.ToolUseBlock(id=block.call_id, name=block.name, input=_input(block.text))


def _delta(block: Block, text: str) -> said.TextDelta | said.ThinkingDelta | said.InputJsonDelta:
    match block.kind:
        case Kind.TEXT:
            return said.TextDelta(text)
        case Kind.REASONING:
            return said.ThinkingDelta(text)
        case Kind.CALL:
            return said.InputJsonDelta(text)


def _input(arguments: str) -> dict[str, Any]:
    """The arguments as an object, which this API has no text for; empty where the model wrote no whole object."""
    try:
        return _INPUT.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return {}
