from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.bench.arrival import constant_arrivals, gamma_arrivals, poisson_arrivals
from sgl_jax.bench.strategy import ArrivalStrategy, ConcurrentStrategy
from sgl_jax.bench.workload.base import RequestSpec
from sgl_jax.bench.workload.builtin import NumberedQuestion


def _requests(number: int) -> Iterator[RequestSpec]:
    return islice(NumberedQuestion(1).requests(), number)


@given(streams=st.integers(1, 8), number=st.integers(0, 30))
def test_a_closed_loop_sends_all_and_keeps_its_streams_full(streams: int, number: int) -> None:
    seen: list[int] = []
    running: list[int] = []
    now = 0

    async def send(request: RequestSpec, due: float | None) -> None:
        nonlocal now
        assert due is None
        seen.append(request.index)
        now += 1
        running.append(now)
        await asyncio.sleep(0)
        now -= 1

    asyncio.run(ConcurrentStrategy(streams).drive(_requests(number), send))
    assert sorted(seen) == list(range(number))
    assert max(running, default=0) == min(streams, number)


@pytest.mark.parametrize(("limit", "sent"), [(0, 0), (5, 5), (50, 30)])
def test_a_closed_loop_keeps_its_limit(limit: int, sent: int) -> None:
    seen: list[int] = []

    async def send(request: RequestSpec, due: float | None) -> None:
        seen.append(request.index)
        await asyncio.sleep(0)

    asyncio.run(ConcurrentStrategy(4, limit).drive(_requests(30), send))
    assert seen == list(range(sent))


def test_a_closed_loop_sends_nothing_new_after_its_time() -> None:
    now = 0.0
    seen: list[float] = []

    async def send(request: RequestSpec, due: float | None) -> None:
        nonlocal now
        seen.append(now)
        now += 1.0

    asyncio.run(ConcurrentStrategy(1, seconds=3.0, clock=lambda: now).drive(_requests(30), send))
    assert seen == [0.0, 1.0, 2.0]


def test_an_open_loop_does_not_wait_for_answers() -> None:
    async def main() -> None:
        all_sent = asyncio.Event()
        sent: list[int] = []

        async def send(request: RequestSpec, due: float | None) -> None:
            sent.append(request.index)
            if len(sent) == 20:
                all_sent.set()
            # No answer before the last request is out: a loop that waits for answers would hang here.
            await all_sent.wait()

        strategy = ArrivalStrategy("constant", constant_arrivals(1000.0, 0.02))
        await strategy.drive(_requests(1000), send)
        assert sent == list(range(20))

    asyncio.run(main())


def test_an_open_loop_sends_at_its_offsets_and_never_early() -> None:
    offsets = [0.0, 0.01, 0.01, 0.03]
    seen: list[tuple[float, float]] = []

    async def main() -> None:
        clock = asyncio.get_running_loop().time

        async def send(request: RequestSpec, due: float | None) -> None:
            assert due is not None
            seen.append((due, clock()))

        await ArrivalStrategy("trace", offsets, clock=clock).drive(_requests(10), send)

    asyncio.run(main())
    first = seen[0][0]
    assert [due - first for due, _ in seen] == pytest.approx(offsets)
    resolution = 1e-3  # the event loop may wake a timer this much early
    assert all(sent >= due - resolution for due, sent in seen)


def test_constant_arrivals_are_even_and_end() -> None:
    assert list(constant_arrivals(4.0, 1.0)) == [0.0, 0.25, 0.5, 0.75]


def test_poisson_arrivals_repeat_with_their_seed() -> None:
    first = list(poisson_arrivals(50.0, 2.0, seed=1))
    assert first == list(poisson_arrivals(50.0, 2.0, seed=1))
    assert first != list(poisson_arrivals(50.0, 2.0, seed=2))


@given(seed=st.integers(0, 2**32))
def test_poisson_arrivals_ascend_and_keep_their_rate(seed: int) -> None:
    arrivals = list(poisson_arrivals(100.0, 50.0, seed))
    assert arrivals == sorted(arrivals)
    assert all(0 < arrival < 50.0 for arrival in arrivals)
    # 5,000 expected, standard deviation 71: ten of them are never left by chance.
    assert 4290 < len(arrivals) < 5710


@given(seed=st.integers(0, 2**32), cv=st.floats(0.2, 4.0))
def test_gamma_arrivals_ascend(seed: int, cv: float) -> None:
    arrivals = list(gamma_arrivals(100.0, 5.0, cv, seed))
    assert arrivals == sorted(arrivals)
    assert all(0 <= arrival < 5.0 for arrival in arrivals)
    assert arrivals == list(gamma_arrivals(100.0, 5.0, cv, seed))


@pytest.mark.parametrize("cv", [0.5, 1.0, 3.0])
def test_gamma_arrivals_keep_their_rate_and_their_burstiness(cv: float) -> None:
    arrivals = list(gamma_arrivals(100.0, 400.0, cv, seed=1))
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    mean = statistics.fmean(gaps)
    assert mean == pytest.approx(0.01, rel=0.1)
    assert statistics.pstdev(gaps) / mean == pytest.approx(cv, rel=0.1)
