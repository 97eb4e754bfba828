from __future__ import annotations

import asyncio
import time
from itertools import islice

from sgl_jax.bench.record import RequestFailure, RequestRecord
from sgl_jax.bench.runner import run
from sgl_jax.bench.strategy import ConcurrentStrategy
from sgl_jax.bench.workload.base import RequestSpec
from sgl_jax.bench.workload.builtin import NumberedQuestion


class _Listener:
    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_record(self, record: RequestRecord) -> None:
        self.seen.append(record.index)


def test_failures_do_not_end_a_run_and_everyone_is_told() -> None:
    async def measure(spec: RequestSpec, due: float | None) -> RequestRecord:
        sent = time.perf_counter()
        await asyncio.sleep(0)
        failure = RequestFailure("timeout", "slow") if spec.index % 2 else None
        return RequestRecord(spec.index, sent=sent, end=time.perf_counter(), failure=failure)

    listener = _Listener()
    requests = islice(NumberedQuestion(1).requests(), 10)
    result = asyncio.run(run(ConcurrentStrategy(3), requests, measure, listener))
    assert sorted(record.index for record in result.records) == list(range(10))
    assert [record.index for record in result.records] == listener.seen
    assert sum(record.ok for record in result.records) == 5
    assert all(result.origin <= r.sent <= r.end <= result.origin + result.duration for r in result.records)


def test_the_testers_own_lateness_is_sampled() -> None:
    async def measure(spec: RequestSpec, due: float | None) -> RequestRecord:
        await asyncio.sleep(0.03)
        time.sleep(0.05)  # a tester that blocks its event loop
        await asyncio.sleep(0.03)
        return RequestRecord(spec.index, sent=0.0, end=0.0)

    result = asyncio.run(run(ConcurrentStrategy(1), islice(NumberedQuestion(1).requests(), 3), measure))
    # The sleeper asks for 20 ms, so a block of 50 ms that begins within its sleep makes it at least 30 ms late.
    assert max(result.lag) >= 0.025
