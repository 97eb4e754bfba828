"""Strategies: who decides when the next request is sent.

In a *closed loop* the answers do: a fixed number of callers each wait for an answer before they ask again. In an
*open loop* the calendar does: requests leave at times fixed beforehand, however slow the server is.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Protocol

from sgl_jax.bench.record import Clock
from sgl_jax.bench.workload.base import RequestSpec

Send = Callable[[RequestSpec, float | None], Awaitable[None]]
"""Sends one request and returns when its answer is complete; the second argument is when it was due, if it was."""


class Strategy(Protocol):
    """Takes requests from a workload and sends them."""

    @property
    def expected_streams(self) -> int:
        """How many requests are likely to run at a time; an estimate to prepare connections by, no limit."""
        ...

    async def drive(self, requests: Iterator[RequestSpec], send: Send) -> None:
        """Send requests until the strategy's end, and return when all answers are in."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return the strategy's name and numbers for a results file."""
        ...


class ConcurrentStrategy:
    """Closed loop: `streams` callers, each of which sends its next request when its last is answered.

    Ends when the requests run out, so give it a bounded iterator.
    """

    def __init__(self, streams: int) -> None:
        self._streams = streams

    @property
    def expected_streams(self) -> int:
        """As many as there are callers."""
        return self._streams

    async def drive(self, requests: Iterator[RequestSpec], send: Send) -> None:
        """Send all of `requests`, `streams` at a time."""

        async def caller() -> None:
            for request in requests:
                await send(request, None)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._streams):
                group.create_task(caller())

    def describe(self) -> dict[str, Any]:
        """Return the strategy's name and numbers for a results file."""
        return {"kind": "concurrent", "streams": self._streams}


class ArrivalStrategy:
    """Open loop: one request at each of `offsets`, never waiting for an answer.

    A request that leaves late (the tester was busy) keeps its due time, and latency counts from there.

    Args:
        kind: `constant`, `poisson`; for the results file.
        rate: mean requests a second; for the results file.
        offsets: seconds from the start, ascending and finite.
        clock: the clock of the due times.
    """

    def __init__(self, kind: str, rate: float, offsets: Iterable[float], clock: Clock = time.perf_counter) -> None:
        self._kind = kind
        self._rate = rate
        self._offsets = offsets
        self._clock = clock

    @property
    def expected_streams(self) -> int:
        """The requests of one second: as many as run at a time when an answer takes a second (Little's law)."""
        return math.ceil(self._rate)

    async def drive(self, requests: Iterator[RequestSpec], send: Send) -> None:
        """Send one request at each offset, then wait for the answers that are still out."""
        start = self._clock()
        async with asyncio.TaskGroup() as group:
            for offset, request in zip(self._offsets, requests, strict=False):
                due = start + offset
                # Even when late we yield once, so that answers are read between the sends of a backlog.
                await asyncio.sleep(max(due - self._clock(), 0.0))
                group.create_task(_sent(send, request, due))

    def describe(self) -> dict[str, Any]:
        """Return the strategy's name and numbers for a results file."""
        return {"kind": self._kind, "rate": self._rate}


async def _sent(send: Send, request: RequestSpec, due: float) -> None:
    await send(request, due)
