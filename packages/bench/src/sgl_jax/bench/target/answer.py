"""Reads a streamed answer into a record. Pure: it is told when each piece of the body came."""

from __future__ import annotations

import json
from typing import Any

from sgl_jax.bench.record import RequestRecord
from sgl_jax.bench.wire.errors import BrokenAnswerError
from sgl_jax.bench.wire.events import EventSplitter

_DONE = b"[DONE]"


class AnswerReader:
    """Takes the body of one streamed answer, and writes times and tokens down.

    Chat and text completions are read alike: they differ only in where a choice has its text.

    Args:
        record: what to write to.
        keep_text: whether `text` is wanted, for a conversation that goes on.

    Attributes:
        done: whether `[DONE]` came; only then is the answer whole.
    """

    def __init__(self, record: RequestRecord, *, keep_text: bool = False) -> None:
        self.done = False
        self._record = record
        self._events = EventSplitter()
        self._text: list[str] | None = [] if keep_text else None

    @property
    def text(self) -> str:
        """What the model wrote, if it was to be kept."""
        return "".join(self._text or ())

    def feed(self, moment: float, piece: bytes) -> None:
        """Take a piece of the body that was read at `moment`.

        Raises:
            BrokenAnswerError: it is no stream of answers, or the server reports an error in it.
        """
        try:
            events = self._events.feed(piece)
        except ValueError as error:
            raise BrokenAnswerError(f"the stream is broken: {error}") from error
        for data in events:
            if data == _DONE:
                self.done = True
                self._record.end = moment
            elif data:
                self._take(moment, _parse(data))

    def finish(self) -> None:
        """Note that the body has ended.

        Raises:
            BrokenAnswerError: the answer is not whole.
        """
        if not self.done:
            raise BrokenAnswerError(f"the stream ended before [DONE], after {len(self._record.chunk_times)} chunks")

    def _take(self, moment: float, event: dict[str, Any]) -> None:
        record = self._record
        if event.get("error"):
            raise BrokenAnswerError(f"the server broke off: {error_message(event)}")
        wrote = False
        for choice in event.get("choices") or ():
            wrote = self._take_choice(choice) or wrote
        if wrote:
            record.chunk_times.append(moment)
        if usage := event.get("usage"):
            details = usage.get("prompt_tokens_details") or {}
            record.input_tokens = usage.get("prompt_tokens")
            record.output_tokens = usage.get("completion_tokens")
            record.cached_tokens = details.get("cached_tokens")
        if (wait := _queue_wait(event)) is not None:
            record.queue_wait = wait

    def _take_choice(self, choice: dict[str, Any]) -> bool:
        """Note what a choice says; return whether it brings something that the model wrote.

        The chunk with only the role, or only the reason to stop, does not.
        """
        delta = choice.get("delta") or choice
        text = delta.get("content") or choice.get("text")
        self._record.finish_reason = choice.get("finish_reason") or self._record.finish_reason
        if text and self._text is not None:
            self._text.append(text)
        return bool(text or delta.get("reasoning_content") or delta.get("reasoning") or delta.get("tool_calls"))


def error_message(value: object) -> str:
    """Return the message of an error in OpenAI's shape, or in any other that is common, on one line."""
    while isinstance(value, dict):
        value = value.get("error") or value.get("message") or value.get("detail") or json.dumps(value)
    return " ".join(str(value).split()) or "no reason given"


def _parse(data: bytes) -> dict[str, Any]:
    try:
        event = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BrokenAnswerError(f"the stream is broken: {data[:80]!r} is not JSON") from error
    if not isinstance(event, dict):
        raise BrokenAnswerError(f"the stream is broken: {data[:80]!r} is not an object")
    return event


def _queue_wait(event: dict[str, Any]) -> float | None:
    """Return the seconds that a request waited for its turn, where the server tells.

    OpenAI's API has no place for it; servers put `queue_time`, in seconds, into `usage`, `meta_info` or `metrics`.
    """
    for place in ("usage", "meta_info", "metrics"):
        part = event.get(place)
        if isinstance(part, dict) and isinstance(wait := part.get("queue_time"), int | float):
            return float(wait)
    return None
