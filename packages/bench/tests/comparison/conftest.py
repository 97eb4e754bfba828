from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from sgl_jax.bench.record import RequestFailure, RequestRecord
from sgl_jax.bench.results import Results
from sgl_jax.bench.runner import RunResult
from sgl_jax.bench.slo import Slo

MakeRun = Callable[..., Results]


def _make(
    seed: int = 0,
    *,
    requests: int = 120,
    ttft: float = 0.1,
    itl: float = 0.01,
    failed: int = 0,
    kind: str = "concurrent",
    usage: bool = True,
    slo: Slo | None = None,
    flags: dict[str, object] | None = None,
) -> Results:
    """A run of one stream, whose times scatter by a few percent."""
    rng = random.Random(seed)
    now, records = 0.0, []
    for index in range(requests):
        times = [now + ttft * rng.uniform(0.95, 1.05)]
        for _ in range(5):
            times.append(times[-1] + itl * rng.uniform(0.9, 1.1))
        failure = RequestFailure("timeout", "slow") if index < failed else None
        records.append(
            RequestRecord(
                index,
                sent=now,
                chunk_times=times,
                end=times[-1],
                input_tokens=4,
                output_tokens=6 if usage else None,
                failure=failure,
            )
        )
        now = times[-1]
    run = RunResult(tuple(records), origin=0.0, started_at=0.0, duration=now, lag=())
    provenance = {
        "command": "run",
        "flags": flags or {},
        "server": {"model": "m"},
        "machine": {"system": "s", "cpus": 2},
    }
    return Results(run, "questions", {"kind": kind}, provenance, slo)


@pytest.fixture
def make_run() -> MakeRun:
    """Make a run with set latencies."""
    return _make
