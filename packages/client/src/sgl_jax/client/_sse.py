"""Server-sent events, decoded from whatever pieces the network hands over.

The rules are the WHATWG HTML standard's, section 9.2.6 "Interpreting an event stream": lines end
in LF, CR or CRLF; a blank line ends an event; `data` lines join with LF; comments and unknown
fields are skipped; an event that the end of the stream cuts off is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

_BOM = b"\xef\xbb\xbf"
_CR, _LF = 13, 10

MAX_EVENT_BYTES = 64 * 1024 * 1024
"""A server that never ends a line must not fill the client's memory."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event: its `data` as UTF-8 bytes (usually JSON) and its name, `"message"` unless named."""

    data: bytes
    event: str = "message"


class SSEDecoder:
    """Feeds on bytes, gives events; any split of the same bytes gives the same events.

    Work per byte is constant: a line that arrives in many pieces is joined once.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # of the line that has not ended yet
        self._size = 0
        self._after_cr = False
        self._first_line = True
        self._data: list[bytes] = []
        self._event = ""

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that `chunk` completes. Raises `ValueError` when one event outgrows `MAX_EVENT_BYTES`."""
        if not chunk:
            return []
        if self._after_cr and chunk[0] == _LF:
            chunk = chunk[1:]  # the second half of a CRLF that two chunks share
        self._after_cr = False
        if not chunk:
            return []
        events: list[ServerSentEvent] = []
        # bytes.splitlines knows exactly the three line ends of the standard
        for line in chunk.splitlines(keepends=True):
            text = line.rstrip(b"\r\n")
            if len(text) == len(line):
                self._keep(text)
                break
            if self._pieces:
                self._size -= sum(map(len, self._pieces))
                text = b"".join((*self._pieces, text))
                self._pieces.clear()
            event = self._end_line(text)
            if event is not None:
                events.append(event)
        self._after_cr = chunk[-1] == _CR
        return events

    def _keep(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._grow(len(piece))

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_EVENT_BYTES:
            raise ValueError(f"one event is larger than {MAX_EVENT_BYTES} bytes")

    def _end_line(self, line: bytes) -> ServerSentEvent | None:
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._grow(len(value))
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        data, event = self._data, self._event
        self._data, self._event, self._size = [], "", 0
        return ServerSentEvent(b"\n".join(data), event or "message") if data else None
