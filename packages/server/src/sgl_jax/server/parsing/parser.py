"""Parsers: text pieces in, events out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sgl_jax.server.parsing.events import Content, Event
from sgl_jax.server.parsing.output import Output
from sgl_jax.server.parsing.reader import Reader, Reading


class Parser(Protocol):
    """Takes one answer apart while it comes.

    However the text is cut into pieces, the assembled events are the same. Nothing is given out
    that later text could turn into something else, and nothing of the text is lost but what the
    format itself writes: markers, the frame of a call, and white space around these. What looks
    like a call and turns out not to be one is content.
    """

    def push(self, text: str) -> list[Event]:
        """What this piece adds."""

    def finish(self) -> list[Event]:
        """What was held back, now that nothing follows."""


Grammar = Callable[[Reader, Output], Reading[None]]
"""Reads a whole answer. Text that it leaves unread is content."""


class PlainText:
    """Reads answers that are content and nothing else."""

    def push(self, text: str) -> list[Event]:
        """See `Parser`."""
        return [Content(text)] if text else []

    def finish(self) -> list[Event]:
        """See `Parser`."""
        return []


class GrammarParser:
    """Runs a grammar on text that comes in pieces.

    Args:
        grammar: see `reader` for how it waits.
        new_id: makes the ids of tool calls.
    """

    def __init__(self, grammar: Grammar, new_id: Callable[[], str]) -> None:
        self._reader = Reader()
        self._output = Output(new_id)
        self._run = _to_the_end(grammar, self._reader, self._output)

    def push(self, text: str) -> list[Event]:
        """See `Parser`."""
        self._reader.feed(text)
        next(self._run, None)
        return self._output.take()

    def finish(self) -> list[Event]:
        """See `Parser`."""
        self._reader.end()
        next(self._run, None)
        return self._output.take()


class Chain:
    """One parser after another: what is content to the first is read by the second."""

    def __init__(self, first: Parser, second: Parser) -> None:
        self._first = first
        self._second = second

    def push(self, text: str) -> list[Event]:
        """See `Parser`."""
        return self._pass_on(self._first.push(text))

    def finish(self) -> list[Event]:
        """See `Parser`."""
        return self._pass_on(self._first.finish()) + self._second.finish()

    def _pass_on(self, events: list[Event]) -> list[Event]:
        passed: list[Event] = []
        for event in events:
            passed += self._second.push(event.text) if isinstance(event, Content) else [event]
        return passed


def _to_the_end(grammar: Grammar, reader: Reader, output: Output) -> Reading[None]:
    yield from grammar(reader, output)
    yield from reader.copy_rest(output.content)
    output.end()
