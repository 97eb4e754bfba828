"""A limit on all of a call. httpx limits each wait for bytes, which a server that drips never exceeds.

The limit is looked at whenever bytes come, and no single wait is longer than what was left of it when
the request was sent; so a call may outlast its deadline, but by no more than its own length.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator

import httpx

from sgl_jax.client._options import TimeoutOption

SHORTEST_TIMEOUT = 0.001
"""Seconds: zero would mean "do not wait at all" to sockets."""


def timeout_within(timeout: TimeoutOption, deadline: float | None) -> httpx.Timeout:
    """The timeout with none of its parts beyond the deadline (on `time.monotonic`'s clock)."""
    parts = httpx.Timeout(timeout)
    if deadline is None:
        return parts
    left = max(SHORTEST_TIMEOUT, deadline - time.monotonic())
    connect, read, write, pool = (
        left if part is None else min(part, left) for part in (parts.connect, parts.read, parts.write, parts.pool)
    )
    return httpx.Timeout(connect=connect, read=read, write=write, pool=pool)


def in_time(response: httpx.Response, deadline: float | None) -> httpx.Response:
    """The response, whose body raises `httpx.ReadTimeout` when bytes come after the deadline.

    They are looked at as they come: of what is compressed, bytes without end may amount to nothing.
    """
    if deadline is not None and isinstance(response.stream, httpx.SyncByteStream):
        response.stream = _InTime(response.stream, deadline)
    elif deadline is not None and isinstance(response.stream, httpx.AsyncByteStream):
        response.stream = _AsyncInTime(response.stream, deadline)
    return response


class _InTime(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        for part in self._stream:
            _check(self._deadline)
            yield part

    def close(self) -> None:
        self._stream.close()


class _AsyncInTime(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            _check(self._deadline)
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


def _check(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise httpx.ReadTimeout("the deadline has passed")
