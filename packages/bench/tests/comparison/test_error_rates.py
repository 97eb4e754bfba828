"""The promise of `compare`, on simulated runs: few false alarms, and real regressions found.

The simulation knows nothing of the statistics under test: requests share a slowly changing load with their neighbours,
some are outliers, and each run as a whole is a bit faster or slower than the next.
"""

from __future__ import annotations

import numpy as np
import pytest

from sgl_jax.bench.comparison.compare import Comparison, Verdict, compare
from sgl_jax.bench.record import RequestRecord
from sgl_jax.bench.results import Results
from sgl_jax.bench.runner import RunResult

PAIRS = 200
REGRESSIONS = 40
RUNS = 3
REQUESTS = 120
GAPS = 6
STREAMS = 8
RUN_NOISE = 0.02


def _simulate(rng: np.random.Generator, *, prefill: float = 1.0, decode: float = 1.0) -> Results:
    """One run of a closed loop, whose prefill and decode take so many times as long as usual."""
    prefill *= np.exp(rng.normal(0, RUN_NOISE))
    decode *= np.exp(rng.normal(0, RUN_NOISE))
    noise = rng.normal(0, 1, REQUESTS)
    load = np.zeros(REQUESTS)
    for index in range(1, REQUESTS):
        load[index] = 0.7 * load[index - 1] + 0.7 * noise[index]
    slow = np.where(rng.random(REQUESTS) < 0.03, 3.0, 1.0)
    ttft = 0.2 * prefill * np.exp(0.1 * load + 0.2 * rng.normal(0, 1, REQUESTS)) * slow
    hiccup = np.where(rng.random((REQUESTS, GAPS)) < 0.01, 4.0, 1.0)
    gaps = 0.03 * decode * np.exp(0.05 * load[:, None] + 0.15 * rng.normal(0, 1, (REQUESTS, GAPS))) * hiccup
    free = [0.0] * STREAMS
    records = []
    for index in range(REQUESTS):
        sent = min(free)
        times = sent + ttft[index] + np.concatenate([[0.0], np.cumsum(gaps[index])])
        free[free.index(sent)] = float(times[-1])
        records.append(
            RequestRecord(
                index,
                sent=sent,
                chunk_times=times.tolist(),
                end=float(times[-1]),
                input_tokens=9,
                output_tokens=GAPS + 1,
            )
        )
    run = RunResult(tuple(records), origin=0.0, started_at=0.0, duration=max(free), lag=())
    return Results(run, "simulated", {"kind": "concurrent", "streams": STREAMS}, {})


def _side(rng: np.random.Generator, **change: float) -> list[Results]:
    return [_simulate(rng, **change) for _ in range(RUNS)]


def _compare(rng: np.random.Generator, **change: float) -> Comparison:
    return compare(_side(rng), _side(rng, **change), draws=300)


def test_a_thing_compared_with_itself_is_rarely_called_different() -> None:
    rng = np.random.default_rng(20)
    compared = [_compare(rng) for _ in range(PAIRS)]
    different = sum(any(row.verdict is not Verdict.SAME for row in each.rows) for each in compared)
    assert different <= 0.05 * PAIRS, "any difference at all"
    assert sum(not each.ok for each in compared) <= 0.05 * PAIRS, "failures"


@pytest.mark.parametrize(
    ("change", "found_by"),
    [
        ({"prefill": 1.2}, {"ttft_p50", "ttft_p99"}),
        ({"decode": 1.2}, {"itl_p50", "itl_p99", "tpot_mean", "e2e_p50", "tokens_per_second"}),
    ],
)
def test_regressions_of_a_fifth_are_found(change: dict[str, float], found_by: set[str]) -> None:
    rng = np.random.default_rng(21)
    found = 0
    for _ in range(REGRESSIONS):
        failures = {row.measure.name for row in _compare(rng, **change).failures}
        found += bool(failures & found_by)
    assert found >= 0.95 * REGRESSIONS
