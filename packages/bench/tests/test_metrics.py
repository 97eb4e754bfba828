from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.bench.distribution import Distribution
from sgl_jax.bench.metrics import Summary, summarize
from sgl_jax.bench.record import RequestFailure, RequestRecord
from sgl_jax.bench.runner import RunResult
from sgl_jax.bench.slo import Slo


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
    assert summary.input_tokens_per_second == pytest.approx(3.0)
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
    assert summary.tpot.percentiles == dict.fromkeys(["p50", "p90", "p95", "p99", "p99.9"], 0.75)
    assert (summary.send_delay, summary.queue_wait) == (None, None)


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


def test_the_summary_survives_json() -> None:
    result = _result(_record(0), _record(1, tokens=None), lag=(0.001, 0.002))
    for summary in (summarize(result, Slo(ttft=2.0)), summarize(_result())):
        assert Summary.from_json(json.loads(json.dumps(summary.to_json(), allow_nan=False))) == summary


def test_goodput_counts_what_kept_every_objective() -> None:
    slow = _record(1)
    slow.chunk_times[0] += 0.25  # a TTFT of 1.25 s
    failed = _record(2, failure=RequestFailure("timeout", "slow"))
    goodput = summarize(_result(_record(0), slow, failed), Slo(ttft=1.0, itl=0.5)).goodput
    assert goodput is not None
    assert goodput.objectives == {"ttft": 1.0, "itl": 0.5}
    assert (goodput.good_requests, goodput.share) == (1, pytest.approx(100 / 3))
    assert (goodput.requests_per_second, goodput.tokens_per_second) == (0.1, pytest.approx(0.3))


def test_concurrency_is_what_was_under_way_at_a_time() -> None:
    # Sent at 0, 1, 2 and 20 s, 2.5 s each.
    summary = summarize(_result(_record(0), _record(1), _record(2), _record(20), duration=25.0))
    assert summary.max_concurrency == 3
    assert summary.mean_concurrency == pytest.approx(4 * 2.5 / 25)


def test_the_wait_in_the_queue_is_reported_where_the_server_tells() -> None:
    waited = _record(0)
    waited.queue_wait = 0.25
    queue_wait = summarize(_result(waited, _record(1))).queue_wait
    assert queue_wait is not None
    assert (queue_wait.count, queue_wait.max) == (1, 0.25)


@given(values=st.lists(st.floats(0, 1e4, allow_nan=False), min_size=1, max_size=50))
def test_percentiles_are_numpys(values: list[float]) -> None:
    distribution = Distribution.of([None, *values])
    assert distribution is not None
    assert distribution.count == len(values)
    assert distribution.mean == pytest.approx(float(np.mean(values)))
    for name, value in distribution.percentiles.items():
        assert value == pytest.approx(float(np.percentile(values, float(name[1:]))))
