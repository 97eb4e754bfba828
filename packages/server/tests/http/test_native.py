"""`/generate` and `/abort_request` as SGLang's clients see them."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.anyio

ANSWER = "Hello wörld! 👩‍🚀 Stop here."


def events(body: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in body.split("\n\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_single_prompt_gets_an_object(http: httpx.AsyncClient, engine: Any, method: str) -> None:
    body = {"text": "Hi", "rid": "mine"}
    answer = (await http.request(method, "/generate", json=body)).json()
    assert answer["text"] == ANSWER
    assert answer["output_ids"] == [one.token_ids[0] for one in engine.say(engine.submitted[0])]
    meta = answer["meta_info"]
    assert meta["id"] == "mine"
    assert meta["finish_reason"] == {"type": "stop", "matched": engine.tokenizer.eos_token_id}
    assert (meta["prompt_tokens"], meta["completion_tokens"]) == (2, len(answer["output_ids"]))
    assert meta["cached_tokens"] == 2
    assert meta["e2e_latency"] > 0
    assert meta["weight_version"] == "default"
    assert "output_token_logprobs" not in meta


async def test_the_default_is_128_new_tokens(http: httpx.AsyncClient, engine: Any) -> None:
    await http.post("/generate", json={"text": "Hi"})
    await http.post("/generate", json={"text": "Hi", "sampling_params": {"max_new_tokens": None}})
    await http.post("/generate", json={"text": "x" * 500})
    assert [one.sampling.max_new_tokens for one in engine.submitted] == [128, None, 12]


async def test_what_adjusts_logits_reaches_the_engine(http: httpx.AsyncClient, engine: Any) -> None:
    params = {
        "frequency_penalty": 0.5, "presence_penalty": -2, "repetition_penalty": 1.25, "min_new_tokens": 130,
        "logit_bias": {"5": 100},
    }  # fmt: skip
    assert (await http.post("/generate", json={"text": "Hi", "sampling_params": params})).status_code == 200
    sampling = engine.submitted[0].sampling
    assert (sampling.frequency_penalty, sampling.presence_penalty, sampling.repetition_penalty) == (0.5, -2, 1.25)
    assert (sampling.min_new_tokens, sampling.logit_bias) == (130, {5: 100})
    assert sampling.max_new_tokens == 130  # the default of 128 yields


async def test_a_batch_gets_a_list_with_its_own_parameters(http: httpx.AsyncClient) -> None:
    body = {
        "input_ids": [[1, 2], [3]],
        "sampling_params": [{"max_new_tokens": 1}, {"max_new_tokens": 5}],
        "rid": ["a", "b"],
    }
    answers = (await http.post("/generate", json=body)).json()
    assert [answer["text"] for answer in answers] == ["H", "Hello"]
    assert [answer["meta_info"]["id"] for answer in answers] == ["a", "b"]
    assert [answer["meta_info"]["prompt_tokens"] for answer in answers] == [2, 1]
    assert answers[1]["meta_info"]["finish_reason"] == {"type": "length", "length": 5}


async def test_a_list_of_one_still_gets_a_list(http: httpx.AsyncClient) -> None:
    answers = (await http.post("/generate", json={"text": ["Hi"]})).json()
    assert [answer["text"] for answer in answers] == [ANSWER]


async def test_a_stream_is_cumulative(http: httpx.AsyncClient) -> None:
    body = {"text": "Hi", "stream": True, "sampling_params": {"stop": "Stop"}}
    answers = events((await http.post("/generate", json=body)).text)
    whole = (await http.post("/generate", json={**body, "stream": False})).json()
    for before, after in itertools.pairwise(answers):
        assert after["text"].startswith(before["text"])
        assert after["output_ids"][: len(before["output_ids"])] == before["output_ids"]
        assert before["meta_info"]["finish_reason"] is None
    assert answers[-1]["text"] == whole["text"] == "Hello wörld! 👩‍🚀 "
    assert answers[-1]["output_ids"] == whole["output_ids"]
    assert answers[-1]["meta_info"]["finish_reason"] == {"type": "stop", "matched": "Stop"}
    assert answers[-1]["meta_info"]["completion_tokens"] == len(whole["output_ids"])


async def test_an_incremental_stream_sends_deltas_and_full_counts(http: httpx.AsyncClient) -> None:
    body = {"text": ["Hi", "Ho"], "stream": True, "incremental": True}
    texts = {0: "", 1: ""}
    answers = events((await http.post("/generate", json=body)).text)
    for answer in answers:
        texts[answer["index"]] += answer["text"]
    assert texts == {0: ANSWER, 1: ANSWER}
    counts = [len(one["output_ids"]) for one in answers if one["index"] == 0]
    last = [one for one in answers if one["index"] == 0][-1]
    assert last["meta_info"]["completion_tokens"] == sum(counts)


@pytest.mark.parametrize(("asked", "text"), [(None, "lo"), (True, "lo"), (False, "Hello")])
async def test_the_server_may_stream_deltas_by_default(
    make_app: Any, connect: Any, asked: bool | None, text: str
) -> None:
    body = {"text": "Hi", "stream": True, "incremental": asked, "sampling_params": {"max_new_tokens": 5}}
    async with connect(make_app(incremental_stream=True)) as client:
        last = events((await client.post("/generate", json=body)).text)[-1]
    assert text.endswith(last["text"])
    assert len(last["text"]) == (5 if asked is False else 1)


async def test_what_sglangs_own_client_sends_is_taken(http: httpx.AsyncClient) -> None:
    params = {"max_new_tokens": 1, "stop_regex": None, "stream_interval": 1, "custom_params": None}
    body = {"text": "Hi", "sampling_params": params, "lora_path": None, "image_data": None}
    assert (await http.post("/generate", json=body)).status_code == 200
    batch = {"text": ["a", "b"], "lora_path": [None, None], "sampling_params": {**params, "stop_regex": []}}
    assert (await http.post("/generate", json=batch)).status_code == 200


async def test_each_prompt_of_a_batch_may_ask_for_its_own_logprobs(http: httpx.AsyncClient) -> None:
    body = {
        "text": ["Hey", "Yo", "No"], "sampling_params": {"max_new_tokens": 1},
        "return_logprob": [True, True, False], "top_logprobs_num": [0, 2, 2], "logprob_start_len": [1, -1, 0],
    }  # fmt: skip
    hey, yo, no = ((one["meta_info"]) for one in (await http.post("/generate", json=body)).json())
    assert len(hey["input_token_logprobs"]) == 2
    assert "output_top_logprobs" not in hey
    assert yo["input_token_logprobs"] == []
    assert [len(one) for one in yo["output_top_logprobs"]] == [2]
    assert "output_token_logprobs" not in no


@pytest.mark.parametrize("incremental", [False, True])
async def test_logprobs(http: httpx.AsyncClient, tokenizer: Any, incremental: bool) -> None:
    body = {
        "text": "Hi", "sampling_params": {"max_new_tokens": 2}, "return_logprob": True, "top_logprobs_num": 1,
        "return_text_in_logprobs": True,
    }  # fmt: skip
    meta = (await http.post("/generate", json=body)).json()["meta_info"]
    h, e = tokenizer.encode("He")
    assert meta["output_token_logprobs"] == [[-0.5, h, "H"], [-0.5, e, "e"]]
    assert meta["output_top_logprobs"] == [[[-0.5, h, "H"]], [[-0.5, e, "e"]]]
    assert meta["input_token_logprobs"] == []
    body |= {"stream": True, "incremental": incremental, "return_text_in_logprobs": False}
    streamed = events((await http.post("/generate", json=body)).text)
    expected = [[-0.5, e, None]] if incremental else [[-0.5, h, None], [-0.5, e, None]]
    assert streamed[-1]["meta_info"]["output_token_logprobs"] == expected


@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize("start", [0, 2, 9])
async def test_logprobs_of_the_prompt(
    http: httpx.AsyncClient, tokenizer: Any, engine: Any, start: int, incremental: bool
) -> None:
    body = {"text": "Hey", "sampling_params": {"max_new_tokens": 2}, "return_logprob": True, "top_logprobs_num": 1}
    body |= {"logprob_start_len": start, "return_text_in_logprobs": True}
    h, e, y = tokenizer.encode("Hey")
    inputs = [[None, h, "H"], [-1.0, e, "e"], [-2.0, y, "y"]][start:]
    rivals = [None, [[-1.0, e, "e"]], [[-2.0, y, "y"]]][start:]
    meta = (await http.post("/generate", json=body)).json()["meta_info"]
    assert meta["input_token_logprobs"] == inputs
    assert meta["input_top_logprobs"] == rivals
    assert len(meta["output_token_logprobs"]) == 2
    streamed = events((await http.post("/generate", json=body | {"stream": True, "incremental": incremental})).text)
    said = [event["meta_info"]["input_token_logprobs"] for event in streamed]
    assert said == ([inputs, []] if incremental else [inputs, inputs])
    await http.post("/generate", json={**body, "return_logprob": False})
    assert engine.submitted[-1].sampling.prompt_logprobs is None


@pytest.mark.parametrize("how", [{"rid": "victim"}, {"abort_all": True}])
async def test_abort_ends_a_waiting_request(http: httpx.AsyncClient, engine: Any, how: dict[str, Any]) -> None:
    engine.script = lambda request: [*engine.say(request)[:5], asyncio.Event()]
    waiting = asyncio.ensure_future(http.post("/generate", json={"text": "Hi", "rid": "victim"}))
    while engine.generated < 5:
        await asyncio.sleep(0)
    assert (await http.post("/abort_request", json={"rid": "someone else"})).json() == {"aborted": 0}
    assert (await http.post("/abort_request", json=how)).json() == {"aborted": 1}
    answer = (await waiting).json()
    assert answer["text"] == "Hello"
    assert answer["meta_info"]["finish_reason"]["type"] == "abort"
    assert (await http.post("/abort_request", json=how)).json() == {"aborted": 0}


async def test_one_rid_of_a_batch_aborts_one_sequence(http: httpx.AsyncClient, engine: Any) -> None:
    engine.script = lambda request: [asyncio.Event()] if request.prompt_ids == [1] else engine.say(request)
    body = {"input_ids": [[1], [2]], "rid": ["a", "b"]}
    waiting = asyncio.ensure_future(http.post("/generate", json=body))
    while not engine.finished:
        await asyncio.sleep(0)
    await http.post("/abort_request", json={"rid": "a"})
    answers = (await waiting).json()
    assert [answer["meta_info"]["finish_reason"]["type"] for answer in answers] == ["abort", "stop"]
