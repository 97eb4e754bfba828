from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.bench.metrics import Distribution, summarize
from sgl_jax.bench.record import RequestFailure, RequestRecord
from sgl_jax.bench.runner import RunResult


def _record(index: int, *, tokens: int | None = 3, failure: RequestFailure | None = None) -> RequestRecord:
    """A request sent at `index` s with chunks 1, 1.5 and 2 s later, complete after 2.5 s."""
    return RequestRecord(
        index,
        sent=float(index),
        chunk_times=[index + 1.0, index + 1.5, index + 2.0],
        end=index + 2.5,
        input_tokens=10,
        output_tokens=tokens,
        cached_tokens=4,
        failure=failure,
    )


def _result(*records: RequestRecord, duration: float = 10.0, lag: tuple[float, ...] = ()) -> RunResult:
    return RunResult(records, origin=0.0, started_at=0.0, duration=duration, lag=lag)


def test_the_guides_numbers() -> None:
    failure = RequestFailure("http_500", "broken", 500)
    summary = summarize(_result(_record(0), _record(1), _record(2), _record(3, failure=failure)))
    assert (summary.total_requests, summary.successful_requests, summary.failed_requests) == (4, 3, 1)
    assert summary.success_rate == 75.0
    assert summary.average_response_time == 2.5
    assert summary.requests_per_second == pytest.approx(0.3)
    assert summary.total_tokens_generated == 9
    assert summary.tokens_per_second == pytest.approx(0.9)
    assert (summary.input_tokens, summary.cached_tokens) == (30, 12)
    assert summary.failures == {"http_500": 1}
    assert summary.first_failure == "broken"


def test_latencies_of_successes() -> None:
    summary = summarize(_result(_record(0), _record(1)))
    assert summary.ttft is not None
    assert summary.ttft.mean == 1.0
    assert summary.itl is not None
    assert (summary.itl.count, summary.itl.max) == (4, 0.5)
    assert summary.tpot is not None
    assert summary.tpot.percentiles == {"p50": 0.75, "p90": 0.75, "p95": 0.75, "p99": 0.75}
    assert summary.send_delay is None


def test_a_run_that_only_failed_has_no_latencies_and_no_rates() -> None:
    summary = summarize(_result(_record(0, failure=RequestFailure("timeout", "slow"))))
    assert (summary.ttft, summary.itl, summary.tpot, summary.e2e) == (None, None, None, None)
    assert summary.average_response_time == summary.tokens_per_second == summary.success_rate == 0.0


def test_answers_without_usage_are_told_and_not_guessed() -> None:
    summary = summarize(_result(_record(0), _record(1, tokens=None)))
    assert summary.missing_usage == 1
    assert summary.total_tokens_generated == 3
    assert summary.tokens_per_chunk == 1.0


def test_several_tokens_in_a_chunk_show() -> None:
    assert summarize(_result(_record(0, tokens=12))).tokens_per_chunk == 4.0


def test_late_sends_are_counted() -> None:
    late, punctual = _record(0), _record(1)
    late.due, punctual.due = -2.0, 1.0
    summary = summarize(_result(late, punctual))
    assert summary.late_sends == 1
    assert summary.send_delay is not None
    assert summary.send_delay.max == 2.0
    assert summary.e2e is not None
    assert summary.e2e.max == 4.5


def test_an_empty_run_is_all_zeros() -> None:
    summary = summarize(_result(duration=0.0))
    assert (summary.total_requests, summary.success_rate, summary.requests_per_second) == (0, 0.0, 0.0)


def test_the_summary_is_json() -> None:
    summary = summarize(_result(_record(0), _record(1, tokens=None), lag=(0.001, 0.002)))
    value = json.loads(json.dumps(summary.to_json(), allow_nan=False))
    assert value["ttft"]["percentiles"]["p99"] == 1.0
    assert value["lag"]["count"] == 2


@given(values=st.lists(st.floats(0, 1e4, allow_nan=False), min_size=1, max_size=50))
def test_percentiles_are_numpys(values: list[float]) -> None:
    distribution = Distribution.of([None, *values])
    assert distribution is not None
    assert distribution.count == len(values)
    for name, value in distribution.percentiles.items():
        assert value == pytest.approx(float(np.percentile(values, float(name[1:]))))
