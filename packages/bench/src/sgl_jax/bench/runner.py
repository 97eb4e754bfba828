"""Runs a strategy over a workload and gathers the records."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from sgl_jax.bench.lag import LagProbe
from sgl_jax.bench.record import Clock, RequestRecord
from sgl_jax.bench.strategy import Strategy
from sgl_jax.bench.workload.base import RequestSpec

Measure = Callable[[RequestSpec, RequestRecord], Awaitable[str]]
"""Sends one request, completes its record, and returns the answer's text where the request has a next turn.

It never raises for a request that fails."""


class Observer(Protocol):
    """Is told of every request while the run goes on; called on the event loop, so it must be quick."""

    def on_start(self, record: RequestRecord) -> None:
        """Take note of a request that leaves now; its record fills up while the answer comes."""
        ...

    def on_record(self, record: RequestRecord) -> None:
        """Take note of a finished request."""
        ...


@dataclass(frozen=True, slots=True)
class RunResult:
    """One finished run.

    Attributes:
        records: one a request, in the order in which they finished.
        origin: the monotonic moment at which the run started.
        started_at: the same moment in Unix time, to find it in other logs.
        duration: seconds from there until the last answer was complete.
        lag: samples of the tester's own lateness, in seconds.
    """

    records: tuple[RequestRecord, ...]
    origin: float
    started_at: float
    duration: float
    lag: tuple[float, ...]


async def run(
    strategy: Strategy,
    requests: Iterator[RequestSpec],
    measure: Measure,
    observer: Observer | None = None,
    clock: Clock = time.perf_counter,
) -> RunResult:
    """Drive `strategy` over `requests` until it ends.

    A request that fails becomes a record with a failure; the run goes on, its conversation does not.
    """
    records: list[RequestRecord] = []

    async def send(request: RequestSpec, due: float | None) -> RequestSpec | None:
        record = RequestRecord(request.index, sent=clock(), due=due, turn=request.turn, workload=request.workload)
        if observer is not None:
            observer.on_start(record)
        text = await measure(request, record)
        records.append(record)
        if observer is not None:
            observer.on_record(record)
        return request.next_turn(text) if request.next_turn is not None and record.ok else None

    async with LagProbe(clock) as probe:
        origin, started_at = clock(), time.time()
        await strategy.drive(requests, send)
        duration = clock() - origin
    return RunResult(tuple(records), origin, started_at, duration, tuple(probe.samples))
