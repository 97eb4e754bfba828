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


def in_time(parts: Iterator[bytes], deadline: float | None) -> Iterator[bytes]:
    """The parts of a body. Raises `httpx.ReadTimeout` when one comes after the deadline."""
    for part in parts:
        _check(deadline)
        yield part


async def in_time_async(parts: AsyncIterator[bytes], deadline: float | None) -> AsyncIterator[bytes]:
    """As `in_time`."""
    async for part in parts:
        _check(deadline)
        yield part


def _check(deadline: float | None) -> None:
    if deadline is not None and time.monotonic() > deadline:
        raise httpx.ReadTimeout("the deadline has passed")
