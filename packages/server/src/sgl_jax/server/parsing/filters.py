"""Parsers around a parser, for clients that want less than the model says, or later."""

from __future__ import annotations

from sgl_jax.server.parsing.events import CallArguments, CallBegin, CallEnd, Content, Event, Reasoning
from sgl_jax.server.parsing.parser import Parser


class FirstCallOnly:
    """Leaves out every tool call but the first (`parallel_tool_calls: false`)."""

    def __init__(self, parser: Parser) -> None:
        self._parser = parser

    def push(self, text: str) -> list[Event]:
        """See `Parser`."""
        return self._first(self._parser.push(text))

    def finish(self) -> list[Event]:
        """See `Parser`."""
        return self._first(self._parser.finish())

    def _first(self, events: list[Event]) -> list[Event]:
        return [one for one in events if not isinstance(one, CallBegin | CallArguments | CallEnd) or one.index == 0]


class CallsOnly:
    """Leaves out content, where a grammar allows calls only: it is what is left of a call that was cut short."""

    def __init__(self, parser: Parser) -> None:
        self._parser = parser

    def push(self, text: str) -> list[Event]:
        """See `Parser`."""
        return [one for one in self._parser.push(text) if not isinstance(one, Content)]

    def finish(self) -> list[Event]:
        """See `Parser`."""
        return [one for one in self._parser.finish() if not isinstance(one, Content)]


class WholeReasoning:
    """Gives reasoning out in one piece, when it has ended (`stream_reasoning: false`)."""

    def __init__(self, parser: Parser) -> None:
        self._parser = parser
        self._kept: list[str] = []

    def push(self, text: str) -> list[Event]:
        """See `Parser`."""
        return self._keep(self._parser.push(text))

    def finish(self) -> list[Event]:
        """See `Parser`."""
        return self._keep(self._parser.finish()) + self._release()

    def _keep(self, events: list[Event]) -> list[Event]:
        passed: list[Event] = []
        for event in events:
            if isinstance(event, Reasoning):
                self._kept.append(event.text)
            else:
                passed += [*self._release(), event]
        return passed

    def _release(self) -> list[Event]:
        kept, self._kept = "".join(self._kept), []
        return [Reasoning(kept)] if kept else []
