"""Where grammars put what they found."""

from __future__ import annotations

from collections.abc import Callable

from sgl_jax.server.parsing.events import CallArguments, CallBegin, CallEnd, Content, Event, Reasoning


class Output:
    """Collects the events of one answer; text that comes in several goes becomes one event.

    Args:
        new_id: makes a call's id.

    Attributes:
        after_call: whether the latest thing given out was a call that has ended.
    """

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._events: list[Event] = []
        self._text: list[str] = []  # of the event that is still growing
        self._make: Callable[[str], Event] = Content  # makes that event
        self._calls = 0
        self._open = False
        self.after_call = False

    def content(self, text: str) -> None:
        """Gives text out to the reader. Ends a call that is open."""
        if text:
            self.end()
            self.after_call = False
            self._append(Content, text)

    def reasoning(self, text: str) -> None:
        """Gives reasoning out. Ends a call that is open."""
        if text:
            self.end()
            self.after_call = False
            self._append(Reasoning, text)

    def begin(self, name: str) -> None:
        """Opens the next call. Ends one that is open."""
        self.end()
        self._complete()
        self._events.append(CallBegin(self._calls, self._new_id(), name))
        self._open = True

    def arguments(self, text: str) -> None:
        """Continues the arguments of the open call."""
        if text:
            self._append(self._call_arguments, text)

    def end(self) -> None:
        """Closes the open call, if there is one."""
        if self._open:
            self._complete()
            self._events.append(CallEnd(self._calls))
            self._open = False
            self._calls += 1
            self.after_call = True

    def take(self) -> list[Event]:
        """The events since the last time."""
        self._complete()
        events, self._events = self._events, []
        return events

    def _call_arguments(self, text: str) -> Event:
        return CallArguments(self._calls, text)

    def _append(self, make: Callable[[str], Event], text: str) -> None:
        if make != self._make:
            self._complete()
            self._make = make
        self._text.append(text)

    def _complete(self) -> None:
        if self._text:
            self._events.append(self._make("".join(self._text)))
            self._text = []
