from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sgl_jax.bench.record import RequestFailure, RequestRecord
from sgl_jax.bench.results import Results
from sgl_jax.bench.runner import RunResult

MakeResults = Callable[..., Results]


def _make(
    *, tokens: int | None = 4, failed: bool = False, lag: float = 0.0, due: float | None = None, **more: Any
) -> Results:
    """Two requests, sent at 1 s, complete at 3.5 s."""
    records = [
        RequestRecord(
            i, sent=1.0, chunk_times=[1.1, 2.0, 3.0, 3.25], end=3.5, input_tokens=9, output_tokens=tokens, due=due
        )
        for i in range(2)
    ]
    if failed:
        for record in records:
            record.failure = RequestFailure("http_429", "the queue [red]is[/red] full", 429)
    run = RunResult(tuple(records), origin=0.0, started_at=0.0, duration=4.0, lag=(lag,))
    kind = "concurrent" if due is None else "constant"
    return Results(run, "questions", {"kind": kind}, {"command": "run", "git": None}, **more)


@pytest.fixture
def make_results() -> MakeResults:
    """Make a small run by hand."""
    return _make
