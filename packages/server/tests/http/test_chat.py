"""`POST /v1/chat/completions` as a client sees it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.anyio

URL = "/v1/chat/completions"
ANSWER = "Hello wörld! 👩‍🚀 Stop here."
HI = [{"role": "user", "content": "Hi"}]


def events(body: str) -> list[Any]:
    """The JSON of each event; `[DONE]` must be the last and is left out."""
    lines = [line.removeprefix("data: ") for line in body.split("\n\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


async def test_an_answer_has_text_usage_and_finish_reason(http: httpx.AsyncClient, engine: Any) -> None:
    response = await http.post(URL, json={"model": "org/tiny", "messages": HI})
    assert response.status_code == 200
    body = response.json()
    assert body["object"] == "chat.completion"
    assert body["model"] == "org/tiny"
    (choice,) = body["choices"]
    assert choice["message"] == {"role": "assistant", "content": ANSWER, "refusal": None}
    assert choice["finish_reason"] == "stop"
    tokens = len(engine.say(engine.submitted[0]))
    prompt = len(engine.submitted[0].prompt_ids)
    assert body["usage"] == {
        "prompt_tokens": prompt,
        "completion_tokens": tokens,
        "total_tokens": prompt + tokens,
        "prompt_tokens_details": {"cached_tokens": 2},
    }


async def test_the_prompt_is_the_rendered_template(http: httpx.AsyncClient, engine: Any, tokenizer: Any) -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}]},
    ]
    await http.post(URL, json={"messages": messages})
    text = tokenizer.decode(engine.submitted[0].prompt_ids, skip_special_tokens=False)
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nOne\nTwo<|im_end|>\n<|im_start|>assistant\n"
    )


async def test_priority_and_cache_salt_reach_the_engine(http: httpx.AsyncClient, engine: Any) -> None:
    fields = {"priority": -3, "cache_salt": "tenant-7"}
    bodies = {URL: {"messages": HI, "n": 2}, "/v1/completions": {"prompt": "Hi"}, "/generate": {"text": "Hi"}}
    for path, body in bodies.items():
        assert (await http.post(path, json={**body, **fields})).status_code == 200
    assert [(one.priority, one.cache_salt) for one in engine.submitted] == [(-3, "tenant-7")] * 4


async def test_continue_final_message_leaves_the_turn_open(
    http: httpx.AsyncClient, engine: Any, tokenizer: Any
) -> None:
    messages = [*HI, {"role": "assistant", "content": "The answer"}]
    await http.post(URL, json={"messages": messages, "continue_final_message": True})
    text = tokenizer.decode(engine.submitted[0].prompt_ids, skip_special_tokens=False)
    assert text.endswith("<|im_start|>assistant\nThe answer")


async def test_a_stream_is_role_then_text_then_finish(http: httpx.AsyncClient) -> None:
    response = await http.post(URL, json={"messages": HI, "stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    chunks = events(response.text)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == ANSWER
    assert chunks[-1]["choices"][0]["delta"] == {}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert all("usage" not in chunk for chunk in chunks)


async def test_include_usage_adds_a_last_chunk_without_choices(http: httpx.AsyncClient) -> None:
    whole = (await http.post(URL, json={"messages": HI})).json()
    response = await http.post(URL, json={"messages": HI, "stream": True, "stream_options": {"include_usage": True}})
    *chunks, last = events(response.text)
    assert last["choices"] == []
    assert last["usage"] == whole["usage"]
    assert all(chunk["usage"] is None for chunk in chunks)


async def test_stop_string_ends_the_text_and_aborts_the_engine(http: httpx.AsyncClient, engine: Any) -> None:
    response = await http.post(URL, json={"messages": HI, "stop": ["rld!", "zzz"]})
    (choice,) = response.json()["choices"]
    assert choice["message"]["content"] == "Hello wö"
    assert choice["finish_reason"] == "stop"
    assert choice["matched_stop"] == "rld!"
    assert engine.aborted == [engine.submitted[0].request_id]


async def test_a_stop_string_never_leaks_into_a_stream(http: httpx.AsyncClient) -> None:
    response = await http.post(URL, json={"messages": HI, "stop": "Stop here", "stream": True})
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in events(response.text))
    assert text == "Hello wörld! 👩‍🚀 "


async def test_max_completion_tokens_goes_before_max_tokens(http: httpx.AsyncClient) -> None:
    response = await http.post(URL, json={"messages": HI, "max_tokens": 9, "max_completion_tokens": 5})
    (choice,) = response.json()["choices"]
    assert choice["message"]["content"] == "Hello"
    assert choice["finish_reason"] == "length"


async def test_n_gives_siblings_with_seeds_of_their_own(http: httpx.AsyncClient, engine: Any) -> None:
    response = await http.post(URL, json={"messages": HI, "n": 3, "seed": 7})
    body = response.json()
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert [choice["message"]["content"] for choice in body["choices"]] == [ANSWER] * 3
    assert [request.sampling.seed for request in engine.submitted] == [7, 8, 9]
    assert body["usage"]["prompt_tokens"] == len(engine.submitted[0].prompt_ids)
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 2


async def test_siblings_stream_side_by_side(http: httpx.AsyncClient) -> None:
    response = await http.post(URL, json={"messages": HI, "n": 2, "stream": True, "stop": "here"})
    texts = {0: "", 1: ""}
    for chunk in events(response.text):
        (choice,) = chunk["choices"]
        texts[choice["index"]] += choice["delta"].get("content", "")
    assert texts == {0: "Hello wörld! 👩‍🚀 Stop ", 1: "Hello wörld! 👩‍🚀 Stop "}


async def test_logprobs_carry_bytes_and_rivals(http: httpx.AsyncClient) -> None:
    response = await http.post(URL, json={"messages": HI, "max_tokens": 9, "logprobs": True, "top_logprobs": 2})
    content = response.json()["choices"][0]["logprobs"]["content"]
    assert bytes(byte for entry in content for byte in entry["bytes"]).decode() == "Hello wö"
    assert content[0]["token"] == "H"
    assert content[0]["logprob"] == -0.5
    assert [rival["logprob"] for rival in content[0]["top_logprobs"]] == [-0.5, -9999.0]


async def test_prompt_logprobs_are_of_the_rendered_prompt(http: httpx.AsyncClient, engine: Any) -> None:
    body = (await http.post(URL, json={"messages": HI, "max_tokens": 1, "prompt_logprobs": 1, "n": 2})).json()
    prompt_ids = engine.submitted[0].prompt_ids
    assert body["prompt_logprobs"][0] is None
    assert [list(place) for place in body["prompt_logprobs"][1:]] == [[str(one)] for one in prompt_ids[1:]]
    assert body["choices"][0]["logprobs"] is None
    assert "prompt_logprobs" not in (await http.post(URL, json={"messages": HI})).json()


async def test_logprobs_without_rivals(http: httpx.AsyncClient) -> None:
    body = {"messages": HI, "max_tokens": 2, "logprobs": True, "top_logprobs": 0, "stream": True}
    chunks = events((await http.post(URL, json=body)).text)
    entries = [entry for chunk in chunks for entry in (chunk["choices"][0]["logprobs"] or {"content": []})["content"]]
    assert [entry["token"] for entry in entries] == ["H", "e"]
    assert all(entry["top_logprobs"] == [] for entry in entries)


async def test_sampling_reaches_the_engine(http: httpx.AsyncClient, engine: Any) -> None:
    body = {
        "messages": HI, "temperature": 0, "top_p": 0.5, "top_k": 7, "min_p": 0.1, "seed": 3, "max_tokens": 4,
        "stop_token_ids": [5], "ignore_eos": True, "skip_special_tokens": False,
        "user": "me", "metadata": {"a": "b"}, "store": True, "presence_penalty": 0.5, "tools": [],
        "tool_choice": "auto", "response_format": {"type": "text"}, "frequency_penalty": -0.5,
        "repetition_penalty": 1.5, "logit_bias": {"5": -100, "17": 2.5}, "min_tokens": 3,
    }  # fmt: skip
    assert (await http.post(URL, json=body)).status_code == 200
    sampling = engine.submitted[0].sampling
    assert sampling.temperature == 0
    assert (sampling.top_p, sampling.top_k, sampling.min_p, sampling.seed) == (0.5, 7, 0.1, 3)
    assert (sampling.max_new_tokens, sampling.stop_token_ids, sampling.ignore_eos) == (4, (5,), True)
    assert sampling.skip_special_tokens is False
    assert (sampling.presence_penalty, sampling.frequency_penalty, sampling.repetition_penalty) == (0.5, -0.5, 1.5)
    assert (sampling.logit_bias, sampling.min_new_tokens) == ({5: -100, 17: 2.5}, 3)


async def test_null_adjusts_nothing(http: httpx.AsyncClient, engine: Any) -> None:
    names = ("presence_penalty", "frequency_penalty", "repetition_penalty", "logit_bias", "min_tokens")
    assert (await http.post(URL, json={"messages": HI, **dict.fromkeys(names)})).status_code == 200
    assert not engine.submitted[0].sampling.adjusts_logits


async def test_a_stop_string_waits_for_min_tokens(http: httpx.AsyncClient) -> None:
    body = {"messages": HI, "max_tokens": 12, "stop": ["l"]}
    texts = [
        (await http.post(URL, json={**body, "min_tokens": count})).json()["choices"][0]["message"]["content"]
        for count in (0, 3, 4)
    ]
    assert texts == ["He", "Hel", "Hello wör"]


async def test_without_max_tokens_the_context_window_is_the_bound(http: httpx.AsyncClient, engine: Any) -> None:
    await http.post(URL, json={"messages": HI})
    assert engine.submitted[0].sampling.max_new_tokens is None
