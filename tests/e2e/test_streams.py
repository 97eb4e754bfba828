"""Streams on the wire: stop strings, disconnects, aborts, and SGLang's native form."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.server_process import PATIENCE, ServerProcess, wait_until

pytestmark = pytest.mark.model

COUNT = "1, 2, 3, 4, 5, 6, 7,"
ENDLESS = {"text": COUNT, "sampling_params": {"max_new_tokens": 8000, "temperature": 0, "ignore_eos": True}}


def events(response: httpx.Response) -> Iterator[Any]:
    """The events up to `[DONE]`, which must be there."""
    for line in response.iter_lines():
        if line == "data: [DONE]":
            return
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))
    raise AssertionError("the stream ended without [DONE]")


def native(http: httpx.Client, **body: Any) -> list[Any]:
    with http.stream("POST", "/generate", json={"stream": True, **body}) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        return list(events(response))


def completions(http: httpx.Client, **body: Any) -> tuple[str, Any]:
    """All text, and the choice that finishes it."""
    with http.stream("POST", "/v1/completions", json={"stream": True, "temperature": 0, **body}) as response:
        choices = [event["choices"][0] for event in events(response)]
    return "".join(choice["text"] for choice in choices), choices[-1]


@pytest.mark.parametrize(
    ("stop", "text", "matched"),
    [
        ("11", " 8, 9, 10, ", "11"),
        (["99", " 10"], " 8, 9,", " 10"),
        ("0, 1", " 8, 9, 1", "0, 1"),  # begins and ends inside tokens
        ("x", " 8, 9, 10, 11, 12,", None),
    ],
)
def test_stop_strings(http: httpx.Client, stop: str | list[str], text: str, matched: str | None) -> None:
    body = {"prompt": COUNT, "stop": stop, "max_tokens": 18}
    streamed, last = completions(http, **body)
    whole = http.post("/v1/completions", json={**body, "temperature": 0}).json()["choices"][0]
    assert streamed == whole["text"] == text
    assert last["finish_reason"] == whole["finish_reason"] == ("stop" if matched else "length")
    assert last["matched_stop"] == whole["matched_stop"] == matched


def test_the_end_of_the_turn_and_stop_tokens(http: httpx.Client) -> None:
    conversation = [
        {"role": "user", "content": "Name a primary colour."},
        {"role": "assistant", "content": "Red is a primary colour."},
        {"role": "user", "content": "Why?"},
    ]
    asked = {"messages": conversation, "temperature": 0}
    said = http.post("/v1/chat/completions", json=asked).json()["choices"][0]
    assert said["finish_reason"] == "stop"
    assert said["matched_stop"] == http.get("/get_server_info").json()["engine"]["eos_token_ids"][0]
    text = said["message"]["content"]
    assert text.endswith(".")  # and nothing of <|im_end|>
    (colour,) = http.post("/tokenize", json={"prompt": " colour", "add_special_tokens": False}).json()["tokens"]
    cut = http.post("/v1/chat/completions", json={**asked, "stop_token_ids": [colour]}).json()["choices"][0]
    assert (cut["finish_reason"], cut["matched_stop"]) == ("stop", colour)
    assert cut["message"]["content"] == text.split(" colour")[0]


def test_native_events_grow_to_the_whole_answer(http: httpx.Client) -> None:
    body = {"text": COUNT, "sampling_params": {"max_new_tokens": 12, "temperature": 0}}
    streamed = native(http, **body)
    whole = http.post("/generate", json=body).json()
    assert len(streamed) > 1
    for number, event in enumerate(streamed[:-1]):
        assert streamed[number + 1]["text"].startswith(event["text"])
        assert event["meta_info"]["finish_reason"] is None
    last = streamed[-1]
    assert (last["text"], last["output_ids"]) == (whole["text"], whole["output_ids"])
    assert last["meta_info"]["finish_reason"] == {"type": "length", "length": 12}
    assert last["meta_info"]["completion_tokens"] == len(last["output_ids"]) == 12
    deltas = native(http, **body, incremental=True)
    assert "".join(event["text"] for event in deltas) == whole["text"]
    assert [token for event in deltas for token in event["output_ids"]] == whole["output_ids"]


def test_native_logprobs_and_ids(http: httpx.Client) -> None:
    ids = http.post("/tokenize", json={"prompt": COUNT, "add_special_tokens": False}).json()["tokens"]
    body = {
        "input_ids": ids,
        "sampling_params": {"max_new_tokens": 4, "temperature": 0},
        "return_logprob": True,
        "top_logprobs_num": 3,
        "return_text_in_logprobs": True,
    }
    answer = http.post("/generate", json=body).json()
    meta = answer["meta_info"]
    assert meta["prompt_tokens"] == len(ids)
    assert [entry[1] for entry in meta["output_token_logprobs"]] == answer["output_ids"]
    assert "".join(entry[2] for entry in meta["output_token_logprobs"]) == answer["text"]
    for (logprob, token, _), top in zip(meta["output_token_logprobs"], meta["output_top_logprobs"], strict=True):
        assert len(top) == 3
        assert token == top[0][1]
        assert logprob == pytest.approx(top[0][0])


def test_a_client_that_leaves_frees_its_slot(http: httpx.Client, stats: Callable[[], Any]) -> None:
    finished = stats()["finished_total"]
    for _ in range(3):
        with http.stream("POST", "/generate", json={**ENDLESS, "stream": True}) as response:
            lines = events(response)
            next(lines)
            assert stats()["running"] == 1
        wait_until(lambda: stats()["running"] == 0, "the slot is free")
    counters = stats()
    assert counters["pages_free"] == counters["pages_total"]
    assert counters["finished_total"] == finished, "it was left, and not finished"


def test_a_client_that_leaves_a_silent_request_frees_its_slot(http: httpx.Client, stats: Callable[[], Any]) -> None:
    generated = stats()["generated_tokens_total"]
    with pytest.raises(httpx.ReadTimeout):
        http.post("/generate", json=ENDLESS, timeout=httpx.Timeout(60, read=0.5))
    wait_until(lambda: stats()["running"] == 0, "the slot is free")
    assert stats()["generated_tokens_total"] < generated + 8000


def test_abort_by_rid(http: httpx.Client, stats: Callable[[], Any]) -> None:
    with http.stream("POST", "/generate", json={**ENDLESS, "stream": True, "rid": "mine"}) as response:
        lines = events(response)
        next(lines)
        assert http.post("/abort_request", json={"rid": "mine"}).json() == {"aborted": 1}
        *_, last = lines
    assert last["meta_info"]["finish_reason"]["type"] == "abort"
    assert http.post("/abort_request", json={"rid": "mine"}).json() == {"aborted": 0}
    wait_until(lambda: stats()["running"] == 0, "its slot is free")


def test_an_interval_makes_fewer_events_and_the_same_text(
    http: httpx.Client, start: Callable[..., ServerProcess]
) -> None:
    body = {"text": COUNT, "incremental": True, "sampling_params": {"max_new_tokens": 40, "temperature": 0}}
    with httpx.Client(base_url=start("--stream-interval=6").url, timeout=PATIENCE) as other:
        few = native(other, **body)
    assert "".join(event["text"] for event in few) == "".join(event["text"] for event in native(http, **body))
    # The first one comes at once (test_mailbox.py), with more than a token if the web process lags.
    assert all(len(event["output_ids"]) >= 6 for event in few[1:-1])
