from __future__ import annotations

import json

import pytest

from sgl_jax.bench.record import RequestFailure, RequestRecord


def _record() -> RequestRecord:
    return RequestRecord(
        index=3, sent=100.0, chunk_times=[100.5, 100.75, 101.5], end=102.0, input_tokens=4, output_tokens=4
    )


def test_latencies_count_from_the_send_in_a_closed_loop() -> None:
    record = _record()
    assert (record.ttft, record.e2e, record.gaps) == (0.5, 2.0, [0.25, 0.75])
    assert record.tpot == pytest.approx((2.0 - 0.5) / 3)
    assert record.send_delay == 0.0


def test_latencies_count_from_the_due_time_in_an_open_loop() -> None:
    record = _record()
    record.due = 99.0
    assert (record.ttft, record.e2e, record.send_delay) == (1.5, 3.0, 1.0)


@pytest.mark.parametrize("tokens", [None, 0, 1])
def test_no_tpot_below_two_tokens(tokens: int | None) -> None:
    record = _record()
    record.output_tokens = tokens
    assert record.tpot is None


def test_an_answer_without_text_has_no_first_token() -> None:
    record = RequestRecord(index=0, sent=1.0, end=2.0, output_tokens=5)
    assert (record.ttft, record.tpot, record.gaps) == (None, None, [])


def test_json_is_relative_to_the_run_and_complete() -> None:
    record = _record()
    record.failure = RequestFailure("http_503", "draining", 503)
    value = json.loads(json.dumps(record.to_json(origin=99.0), allow_nan=False))
    assert value["sent"] == 1.0
    assert value["first_token"] == 1.5
    assert value["gaps"] == [0.25, 0.75]
    assert value["end"] == 3.0
    assert value["due"] is None
    assert value["failure"] == {"kind": "http_503", "message": "draining", "status": 503}


@pytest.mark.parametrize("failure", [None, RequestFailure("http_503", "draining", 503)])
def test_a_record_survives_json(failure: RequestFailure | None) -> None:
    record = _record()
    record.failure, record.due, record.turn, record.workload, record.queue_wait = failure, 99.5, 2, "chat", 0.125
    again = RequestRecord.from_json(json.loads(json.dumps(record.to_json(origin=0.0))))
    assert again == record


def test_a_record_without_chunks_survives_json() -> None:
    record = RequestRecord(index=0, sent=1.0, end=2.0, failure=RequestFailure("timeout", "slow"))
    assert RequestRecord.from_json(json.loads(json.dumps(record.to_json(origin=0.0)))) == record
