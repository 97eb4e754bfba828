from __future__ import annotations

import json
from typing import Any

import pytest

from sgl_jax.bench.record import RequestRecord
from sgl_jax.bench.target.answer import AnswerReader, error_message
from sgl_jax.bench.wire.errors import BrokenAnswerError


def _event(value: Any) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def _chat(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


DONE = b"[DONE]"
ROLE = _chat(role="assistant", content="")
USAGE = {
    "choices": [],
    "usage": {"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}},
}


def _read(*timed: tuple[float, Any], keep_text: bool = False) -> tuple[RequestRecord, AnswerReader]:
    record = RequestRecord(0, sent=100.0)
    answer = AnswerReader(record, keep_text=keep_text)
    for moment, value in timed:
        answer.feed(100.0 + moment, _event(value))
    return record, answer


def test_times_and_tokens_are_taken_as_they_come() -> None:
    record, answer = _read(
        (0.25, ROLE),
        (0.5, _chat(content="a")),
        (1.0, _chat(content="b")),
        (2.0, _chat("stop")),
        (2.5, USAGE),
        (3.0, DONE),
    )
    answer.finish()
    assert (record.ttft, record.gaps, record.e2e) == (0.5, [0.5], 3.0)
    assert (record.input_tokens, record.output_tokens, record.cached_tokens) == (12, 3, 8)
    assert record.finish_reason == "stop"
    assert record.tpot == 1.25


@pytest.mark.parametrize("delta", [{"reasoning_content": "hm"}, {"reasoning": "hm"}, {"tool_calls": [{"index": 0}]}])
def test_reasoning_and_tool_calls_are_output_too(delta: dict[str, Any]) -> None:
    record, _ = _read((0.5, ROLE), (1.0, _chat(**delta)))
    assert record.ttft == 1.0


def test_text_completions_are_measured_alike() -> None:
    text = {"choices": [{"index": 0, "text": "a", "finish_reason": None}]}
    last = {"choices": [{"index": 0, "text": "", "finish_reason": "length"}]}
    record, answer = _read((0.5, text), (1.0, last), (1.0, DONE), keep_text=True)
    assert (record.ttft, record.gaps, record.finish_reason, answer.text) == (0.5, [], "length", "a")


def test_the_text_is_kept_when_it_is_wanted() -> None:
    timed = [(0.1, ROLE), (0.2, _chat(content="a")), (0.3, _chat(content="b")), (0.4, DONE)]
    assert _read(*timed, keep_text=True)[1].text == "ab"
    assert _read(*timed)[1].text == ""


def test_events_that_come_together_share_their_time() -> None:
    record = RequestRecord(0, sent=100.0)
    AnswerReader(record).feed(101.0, _event(_chat(content="a")) + _event(_chat(content="b")))
    assert record.chunk_times == [101.0, 101.0]


@pytest.mark.parametrize("place", ["usage", "meta_info", "metrics"])
def test_the_wait_in_the_queue_is_found_where_servers_put_it(place: str) -> None:
    record, _ = _read((0.5, {"choices": [], place: {"queue_time": 0.25}}))
    assert record.queue_wait == 0.25


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"{", "is not JSON"),
        (b"[]", "is not an object"),
        ({"error": {"message": "out of\nmemory", "code": 500}}, "broke off: out of memory"),
        ({"error": "no"}, "broke off: no"),
    ],
)
def test_what_is_no_answer_is_refused(value: Any, message: str) -> None:
    with pytest.raises(BrokenAnswerError, match=message):
        _read((0.5, value))


def test_an_answer_without_its_end_is_not_whole() -> None:
    _, answer = _read((0.5, _chat(content="a")))
    with pytest.raises(BrokenAnswerError, match=r"before \[DONE\], after 1 chunks"):
        answer.finish()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"error": {"message": "full"}}, "full"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"message": "no"}, "no"),
        ("<h1>Bad\nGateway</h1>", "<h1>Bad Gateway</h1>"),
        ("", "no reason given"),
    ],
)
def test_errors_of_all_shapes_have_a_message(value: object, message: str) -> None:
    assert error_message(value) == message
