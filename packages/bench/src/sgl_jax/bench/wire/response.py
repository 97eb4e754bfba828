"""One HTTP/1.1 response, read from whatever pieces the network hands over. Pure: no socket, no clock.

As much of RFC 9112 as answers of LLM servers use: a status line and headers, then a body whose end is told by
`transfer-encoding: chunked`, by `content-length`, or by the end of the connection. Compression is never asked for.
"""

from __future__ import annotations

from enum import Enum, auto

from sgl_jax.bench.wire.errors import BrokenAnswerError, DroppedError

MAX_HEAD_BYTES = 64 * 1024
"""A server that never ends its head must not fill the tester's memory."""

_LINE_END = b"\r\n"
_HEAD_END = b"\r\n\r\n"


class _Part(Enum):
    """What the next bytes belong to."""

    HEAD = auto()
    COUNTED = auto()
    CHUNK_SIZE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILERS = auto()
    UNTIL_CLOSE = auto()
    NOTHING = auto()


class ResponseReader:
    """Feeds on bytes, gives pieces of the body.

    Attributes:
        status: HTTP status; 0 until the head is complete.
        headers: with lower-case names; of repeated ones the last.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._part = _Part.HEAD
        self._buffer = b""
        self._left = 0  # bytes until the end of a counted body or of a chunk
        self._keep_alive = False

    @property
    def complete(self) -> bool:
        """Whether the whole response has been read."""
        return self._part is _Part.NOTHING

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another exchange: the response is complete and nobody wants to close."""
        return self.complete and self._keep_alive and not self._buffer

    def feed(self, data: bytes) -> list[bytes]:
        """Return the pieces of the body that `data` brings.

        Raises:
            BrokenAnswerError: the bytes are no HTTP/1.1 response.
        """
        self._buffer = self._buffer + data if self._buffer else data
        pieces: list[bytes] = []
        position = 0
        while (step := self._step(position, pieces)) is not None:
            position = step
        self._buffer = self._buffer[position:]
        return pieces

    def end(self) -> None:
        """Note that the server closed the connection.

        Raises:
            DroppedError: the response had not begun.
            BrokenAnswerError: it was not complete.
        """
        if self._part is _Part.UNTIL_CLOSE:
            self._part = _Part.NOTHING
        if not self.complete:
            if self._part is _Part.HEAD:
                raise DroppedError("the server closed the connection before its answer began")
            raise BrokenAnswerError("the server closed the connection inside its answer")

    def _step(self, position: int, pieces: list[bytes]) -> int | None:
        """Read one part of the response at `position`; return where the next begins, None when bytes are missing."""
        match self._part:
            case _Part.CHUNK | _Part.COUNTED:
                return self._read_counted(position, pieces)
            case _Part.CHUNK_END:
                return self._read_chunk_end(position)
            case _Part.CHUNK_SIZE:
                return self._read_chunk_size(position)
            case _Part.UNTIL_CLOSE if position < len(self._buffer):
                pieces.append(self._buffer[position:])
                return len(self._buffer)
            case _Part.HEAD:
                return self._read_head(position)
            case _Part.TRAILERS:
                return self._read_trailer(position)
            case _:
                return None

    def _read_counted(self, position: int, pieces: list[bytes]) -> int | None:
        piece = self._buffer[position : position + self._left]
        if not piece:
            return None
        pieces.append(piece)
        self._left -= len(piece)
        if self._left == 0:
            self._part = _Part.CHUNK_END if self._part is _Part.CHUNK else _Part.NOTHING
        return position + len(piece)

    def _read_chunk_end(self, position: int) -> int | None:
        end = self._buffer[position : position + 2]
        if len(end) < 2:
            return None
        if end != _LINE_END:
            raise BrokenAnswerError("the answer is broken: a chunk is longer than announced")
        self._part = _Part.CHUNK_SIZE
        return position + 2

    def _read_chunk_size(self, position: int) -> int | None:
        end = self._find(_LINE_END, position)
        if end < 0:
            return None
        digits = self._buffer[position:end].partition(b";")[0].strip()
        try:
            self._left = int(digits, 16)
        except ValueError as error:
            raise BrokenAnswerError(f"the answer is broken: {digits[:20]!r} is no size of a chunk") from error
        self._part = _Part.CHUNK if self._left else _Part.TRAILERS
        return end + 2

    def _read_trailer(self, position: int) -> int | None:
        end = self._find(_LINE_END, position)
        if end < 0:
            return None
        if end == position:
            self._part = _Part.NOTHING
        return end + 2

    def _read_head(self, position: int) -> int | None:
        end = self._find(_HEAD_END, position)
        if end < 0:
            return None
        status_line, *lines = self._buffer[position:end].decode("latin-1").split("\r\n")
        version, _, rest = status_line.partition(" ")
        code = rest[:3]
        if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdecimal()):
            raise BrokenAnswerError(f"the server does not speak HTTP/1.1: it answered {status_line[:60]!r}")
        self.headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        if int(code) >= 200:  # below are interim answers: the real head follows
            self.status = int(code)
            self._begin_body(version)
        return end + len(_HEAD_END)

    def _begin_body(self, version: str) -> None:
        headers = self.headers
        wish = headers.get("connection", "").lower()
        self._keep_alive = wish != "close" if version == "HTTP/1.1" else wish == "keep-alive"
        length = headers.get("content-length")
        if self.status in (204, 304):
            self._part = _Part.NOTHING
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            self._part = _Part.CHUNK_SIZE
        elif length is None:
            self._part, self._keep_alive = _Part.UNTIL_CLOSE, False
        elif not (length.isascii() and length.isdecimal()):
            raise BrokenAnswerError(f"the answer is broken: content-length {length[:20]!r}")
        else:
            self._left = int(length)
            self._part = _Part.COUNTED if self._left else _Part.NOTHING

    def _find(self, end: bytes, position: int) -> int:
        found = self._buffer.find(end, position)
        if found < 0 and len(self._buffer) - position > MAX_HEAD_BYTES:
            raise BrokenAnswerError(f"the answer is broken: no end of a line within {MAX_HEAD_BYTES} bytes")
        return found
