"""Strategies: who decides when the next request is sent.

In a *closed loop* the answers do: a fixed number of callers each wait for an answer before they ask again. In an
*open loop* the calendar does: requests leave at times fixed beforehand, however slow the server is.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from sgl_jax.bench.record import Clock
from sgl_jax.bench.workload.base import RequestSpec

Send = Callable[[RequestSpec, float | None], Awaitable[RequestSpec | None]]
"""Sends one request; the second argument is when it was due, if it was. Returns when its answer is complete, with the
conversation's next request, or None when the conversation is over."""


class Strategy(Protocol):
    """Takes conversations from a workload and sends their requests."""

    async def drive(self, requests: Iterator[RequestSpec], send: Send) -> None:
        """Send requests until the strategy's end, and return when all answers are in."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return the strategy's name and numbers for a results file."""
        ...


class ConcurrentStrategy:
    """Closed loop: `streams` callers, each of which sends its next request when its last is answered.

    Ends when the conversations run out, or at the first of the two limits. A caller stays with its conversation until
    that is over.

    Args:
        streams: how many callers.
        requests: the most requests to send, all turns counted; None sets no limit.
        seconds: for how long new requests are sent; None sets no limit.
        clock: measures those seconds.
    """

    def __init__(
        self,
        streams: int,
        requests: int | None = None,
        seconds: float | None = None,
        clock: Clock = time.perf_counter,
    ) -> None:
        self._streams = streams
        self._requests = math.inf if requests is None else requests
        self._seconds = math.inf if seconds is None else seconds
        self._clock = clock

    async def drive(self, requests: Iterator[RequestSpec], send: Send) -> None:
        """Send requests, `streams` at a time."""
        left = self._requests
        end = self._clock() + self._seconds

        async def caller() -> None:
            nonlocal left
            request: RequestSpec | None = None
            while left > 0 and self._clock() < end:
                request = request or next(requests, None)
                if request is None:
                    return
                left -= 1
                if request.pause:
                    await asyncio.sleep(request.pause)
                request = await send(request, None)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._streams):
                group.create_task(caller())

    def describe(self) -> dict[str, Any]:
        """Return the strategy's name and numbers for a results file."""
        return {"kind": "concurrent", "streams": self._streams}


class ArrivalStrategy:
    """Open loop: one conversation begins at each of `offsets`, never waiting for the answers to others.

    A request that leaves late (the tester was busy) keeps its due time, and latency counts from there. A further turn
    of a conversation is due when its user has the answer before it, and has paused.

    Args:
        kind: `constant`, `poisson`, `gamma`, `trace`; for the results file.
        offsets: seconds from the start, ascending and finite.
        details: further numbers for the results file, such as the mean rate.
        clock: the clock of the due times.
    """

    def __init__(
        self,
        kind: str,
        offsets: Iterable[float],
        details: Mapping[str, float] | None = None,
        clock: Clock = time.perf_counter,
    ) -> None:
        self._kind = kind
        self._offsets = offsets
        self._details = dict(details or {})
        self._clock = clock

    async def drive(self, requests: Iterator[RequestSpec], send: Send) -> None:
        """Begin a conversation at each offset, then wait for the answers that are still out."""
        start = self._clock()
        async with asyncio.TaskGroup() as group:
            for offset, request in zip(self._offsets, requests, strict=False):
                due = start + offset
                # Even when late we yield once, so that answers are read between the sends of a backlog.
                await asyncio.sleep(max(due - self._clock(), 0.0))
                group.create_task(self._converse(send, request, due))

    async def _converse(self, send: Send, request: RequestSpec | None, due: float) -> None:
        while request is not None:
            request = await send(request, due)
            if request is not None:
                due = self._clock() + request.pause
                await asyncio.sleep(request.pause)

    def describe(self) -> dict[str, Any]:
        """Return the strategy's name and numbers for a results file."""
        return {"kind": self._kind, **self._details}
