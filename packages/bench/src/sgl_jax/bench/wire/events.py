"""Server-sent events: from the pieces of a body to the `data` of each event. Pure.

The WHATWG standard's rules (HTML, section 9.2.6), except that a lone CR does not end a line: no LLM server sends one.
Names of events and comments are skipped, since OpenAI's API gives them no meaning.
"""

from __future__ import annotations

_PREFIX = b"data:"

MAX_EVENT_BYTES = 64 * 1024 * 1024
"""A server that never ends a line must not fill the tester's memory."""


class EventSplitter:
    """Feeds on bytes, gives the data of complete events; any split of the same bytes gives the same events."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []  # the beginning of a line, in pieces: joined once, when it ends
        self._size = 0
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the data of the events that `piece` completes.

        Raises:
            ValueError: an event is larger than `MAX_EVENT_BYTES`.
        """
        *lines, rest = piece.split(b"\n")
        if lines and self._rest:
            lines[0] = b"".join((*self._rest, lines[0]))
            self._rest.clear()
            self._size = 0
        if rest:
            self._rest.append(rest)
            self._size += len(rest)
            if self._size > MAX_EVENT_BYTES:
                raise ValueError(f"one event is larger than {MAX_EVENT_BYTES} bytes")
        events = []
        for line in lines:
            text = line.removesuffix(b"\r")
            if text.startswith(_PREFIX):
                self._data.append(text[len(_PREFIX) :].strip())
            elif not text and self._data:
                events.append(b"\n".join(self._data))
                self._data.clear()
        return events
