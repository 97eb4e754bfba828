from __future__ import annotations

import asyncio
import time

import pytest

from sgl_jax.bench.record import RequestFailure, RequestRecord
from sgl_jax.bench.runner import run
from sgl_jax.bench.strategy import ArrivalStrategy, ConcurrentStrategy, Strategy
from sgl_jax.bench.workload.base import RequestSpec
from sgl_jax.bench.workload.builtin import NumberedQuestion
from sgl_jax.bench.workload.conversation import UserTurn, conversation


class _Listener:
    def __init__(self) -> None:
        self.started: list[int] = []
        self.seen: list[int] = []

    def on_start(self, record: RequestRecord) -> None:
        self.started.append(record.index)

    def on_record(self, record: RequestRecord) -> None:
        self.seen.append(record.index)


def test_failures_do_not_end_a_run_and_everyone_is_told() -> None:
    async def measure(spec: RequestSpec, record: RequestRecord) -> str:
        await asyncio.sleep(0)
        record.failure = RequestFailure("timeout", "slow") if spec.index % 2 else None
        record.end = time.perf_counter()
        return ""

    listener = _Listener()
    result = asyncio.run(run(ConcurrentStrategy(3, 10), NumberedQuestion(1).requests(), measure, listener))
    assert sorted(record.index for record in result.records) == list(range(10))
    assert [record.index for record in result.records] == listener.seen
    assert sorted(listener.started) == sorted(listener.seen)
    assert sum(record.ok for record in result.records) == 5
    assert all(result.origin <= r.sent <= r.end <= result.origin + result.duration for r in result.records)


@pytest.mark.parametrize("strategy", [ConcurrentStrategy(2), ArrivalStrategy("trace", [0.0, 0.001])])
def test_a_conversation_goes_on_with_the_answers(strategy: Strategy) -> None:
    asked: list[tuple[str, ...]] = []

    async def measure(spec: RequestSpec, record: RequestRecord) -> str:
        asked.append(tuple(message.content for message in spec.messages))
        record.end = time.perf_counter()
        return f"answer {spec.index}.{spec.turn}"

    turns = [UserTurn(text, 5) for text in ("first", "second", "third")]
    requests = iter([conversation(index, turns, pause=0.001) for index in range(2)])
    result = asyncio.run(run(strategy, requests, measure))
    assert sorted((record.index, record.turn) for record in result.records) == [
        (i, t) for i in range(2) for t in range(3)
    ]
    for index in range(2):
        history = ("first", f"answer {index}.0", "second", f"answer {index}.1", "third")
        assert {history[:1], history[:3], history} <= set(asked)
    by_turn = {(record.index, record.turn): record for record in result.records}
    for (index, turn), record in by_turn.items():
        if turn:
            before = by_turn[index, turn - 1].end
            assert record.sent >= before
            assert record.due is None or record.due >= before


def test_a_failed_turn_ends_its_conversation() -> None:
    async def measure(spec: RequestSpec, record: RequestRecord) -> str:
        record.failure, record.end = RequestFailure("timeout", "slow"), time.perf_counter()
        return ""

    requests = iter([conversation(0, [UserTurn("first", 5), UserTurn("second", 5)])])
    assert len(asyncio.run(run(ConcurrentStrategy(1), requests, measure)).records) == 1


def test_the_testers_own_lateness_is_sampled() -> None:
    async def measure(spec: RequestSpec, record: RequestRecord) -> str:
        await asyncio.sleep(0.03)
        time.sleep(0.05)  # a tester that blocks its event loop
        await asyncio.sleep(0.03)
        record.end = time.perf_counter()
        return ""

    result = asyncio.run(run(ConcurrentStrategy(1, 3), NumberedQuestion(1).requests(), measure))
    # The sleeper asks for 20 ms, so a block of 50 ms that begins within its sleep makes it at least 30 ms late.
    assert max(result.lag) >= 0.025
