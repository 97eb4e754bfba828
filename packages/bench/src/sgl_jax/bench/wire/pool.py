"""Connections to one server: opened when wanted, kept for the next exchange."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from sgl_jax.bench.record import Clock
from sgl_jax.bench.wire.address import ServerAddress
from sgl_jax.bench.wire.connection import Connection, ReadBuffer, Receive, Reply
from sgl_jax.bench.wire.errors import ConnectError, DroppedError

_KEEP_SECONDS = 4.0
"""Uvicorn drops idle connections after 5 s, and a POST that meets a dropped one cannot be repeated."""


class ConnectionPool:
    """An async context manager that owns connections and lends them out, with no limit to their number.

    The server's name is looked up once, so that no measured request pays for it.

    Args:
        address: where the server listens.
        connect_seconds: how long opening a connection may take.
        clock: stamps what is read.
    """

    def __init__(self, address: ServerAddress, connect_seconds: float, clock: Clock = time.perf_counter) -> None:
        self._address = address
        self._connect_seconds = connect_seconds
        self._clock = clock
        self._buffer = ReadBuffer()
        self._idle: list[tuple[float, Connection]] = []
        self._keeps = True
        self._hosts: list[str] = []
        self._tls = ssl.create_default_context() if address.secure else None

    @property
    def address(self) -> ServerAddress:
        """Where the server listens."""
        return self._address

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for _, connection in self._idle:
            connection.close()
        self._idle.clear()
        await asyncio.sleep(0)  # transports close in the loop's next round

    async def exchange(self, request: bytes, receive: Receive | None = None) -> Reply:
        """Send `request` on a kept connection or a new one, and return its answer; see `Connection.exchange`.

        Some servers close a connection behind a stream and do not say so (llama.cpp's does). A request that meets such
        a close is sent again on a new connection, and no connection is kept from then on.

        Raises:
            ConnectError: nobody answers there.
            BrokenAnswerError: the answer broke off, never began, or is no HTTP/1.1.
        """
        async with self.lease() as connection:
            was_kept = connection.used
            try:
                return await connection.exchange(request, receive)
            except DroppedError:
                if not was_kept:
                    raise
        self._keeps = False
        async with self.lease() as connection:
            return await connection.exchange(request, receive)

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Connection]:
        """Lend a connection for one exchange; leaving early closes it, upon which a server gives the request up.

        Raises:
            ConnectError: nobody answers there.
        """
        connection = self._take_idle() or await self._open()
        try:
            yield connection
        finally:
            if connection.reusable and self._keeps:
                self._idle.append((self._clock(), connection))
            else:
                connection.close()

    def _take_idle(self) -> Connection | None:
        while self._idle:
            since, connection = self._idle.pop()
            if self._keeps and connection.reusable and self._clock() - since < _KEEP_SECONDS:
                return connection
            connection.close()
        return None

    async def _open(self) -> Connection:
        try:
            async with asyncio.timeout(self._connect_seconds):
                self._hosts = self._hosts or await self._look_up()
                return await self._connect()
        except TimeoutError as error:
            raise ConnectError(f"no connection within {self._connect_seconds:g} s") from error
        except OSError as error:
            raise ConnectError(error.strerror or str(error) or type(error).__name__) from error

    async def _look_up(self) -> list[str]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._address.host, self._address.port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(where[4][0]) for where in found))

    async def _connect(self) -> Connection:
        """Try the server's addresses in turn; the one that answers is used from then on."""
        failure = OSError(f"no address known for {self._address.host}")
        for host in self._hosts:
            try:
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(self._clock, self._buffer),
                    host,
                    self._address.port,
                    ssl=self._tls,
                    server_hostname=self._address.host if self._tls else None,
                )
            except OSError as error:
                failure = error
                continue
            self._hosts = [host]
            return connection
        raise failure
