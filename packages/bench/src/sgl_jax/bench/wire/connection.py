"""One connection: sends a request, stamps every read with the time, and hands the answer's body on in pieces.

Stamping and parsing are kept apart. When many streams get a token in the same moment, the event loop first reads all
their sockets, which is quick, and only then parses what came; so the last one's stamp is not late by the time that it
took to parse all others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from sgl_jax.bench.record import Clock
from sgl_jax.bench.wire.errors import BrokenAnswerError, DroppedError
from sgl_jax.bench.wire.response import ResponseReader

Receive = Callable[[float, bytes], None]
"""Takes a piece of a body, and when it was read."""

_READ_BYTES = 64 * 1024
_MAX_KEPT_BODY = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; `body` is empty where it was handed on in pieces."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the status says success."""
        return 200 <= self.status < 300


class ReadBuffer:
    """Where sockets are read to. All connections of a loop share one: what is in it is copied out at once."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(_READ_BYTES))


class Connection(asyncio.BufferedProtocol):
    """A protocol for `loop.create_connection`; carries one exchange at a time.

    Args:
        clock: stamps what is read.
        buffer: where sockets are read to.
    """

    def __init__(self, clock: Clock, buffer: ReadBuffer) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._view = buffer.view
        self._transport: asyncio.Transport | None = None
        self._response: ResponseReader | None = None
        self._receive: Receive | None = None
        self._answered: asyncio.Future[Reply] | None = None
        self._unparsed: list[tuple[float, bytes]] = []
        self._body: list[bytes] = []
        self._lost = False

    @property
    def used(self) -> bool:
        """Whether an exchange has begun on it."""
        return self._response is not None

    @property
    def reusable(self) -> bool:
        """Whether another exchange may begin."""
        return not self._lost and self._answered is None and (self._response is None or self._response.reusable)

    async def exchange(self, request: bytes, receive: Receive | None = None) -> Reply:
        """Send `request` and return its answer.

        Args:
            request: head and body, as they go on the wire.
            receive: takes the body of a successful answer piece by piece; None keeps it for the reply. What it
                raises ends the exchange and is raised here.

        Raises:
            DroppedError: the server closed the connection before its answer began.
            BrokenAnswerError: the answer broke off or is no HTTP/1.1.
        """
        if self._lost or self._transport is None:
            raise DroppedError("the server closed the connection before its answer began")
        self._response, self._receive, self._body = ResponseReader(), receive, []
        self._answered = self._loop.create_future()
        self._transport.write(request)
        try:
            return await self._answered
        finally:
            self._answered = self._receive = None

    def close(self) -> None:
        """Close the connection at once; what is under way fails."""
        self._lost = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of being a protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        """Part of being a protocol: where to read to."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Part of being a protocol: stamp what was read; parse it after the other sockets have been read."""
        if not self._unparsed:
            self._loop.call_soon(self._parse)
        self._unparsed.append((self._clock(), bytes(self._view[:nbytes])))

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of being a protocol."""
        self._lost = True
        self._parse()
        if self._answered is None or self._answered.done():
            return
        assert self._response is not None
        try:
            self._response.end()
            self._finish()
        except BrokenAnswerError as error:
            self._answered.set_exception(error)

    def _parse(self) -> None:
        unparsed, self._unparsed = self._unparsed, []
        if self._answered is None or self._answered.done():
            if unparsed:  # bytes that nobody asked for
                self.close()
            return
        assert self._response is not None
        try:
            for moment, data in unparsed:
                for piece in self._response.feed(data):
                    self._take(moment, piece)
        except Exception as error:  # noqa: BLE001  raised where the exchange is awaited
            self._answered.set_exception(error)
            self.close()
            return
        if self._response.complete:
            self._finish()

    def _take(self, moment: float, piece: bytes) -> None:
        assert self._response is not None
        if self._receive is not None and 200 <= self._response.status < 300:
            self._receive(moment, piece)
        elif sum(map(len, self._body)) < _MAX_KEPT_BODY:
            self._body.append(piece)

    def _finish(self) -> None:
        assert self._answered is not None
        assert self._response is not None
        self._answered.set_result(Reply(self._response.status, self._response.headers, b"".join(self._body)))
