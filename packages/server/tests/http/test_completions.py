"""`POST /v1/completions` as a client sees it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from sgl_jax.engine.messages import Finish, TokenDelta, TokenLogprobs

pytestmark = pytest.mark.anyio

URL = "/v1/completions"
ANSWER = "Hello wörld! 👩‍🚀 Stop here."


def events(body: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in body.split("\n\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


async def test_sixteen_tokens_are_the_default(http: httpx.AsyncClient) -> None:
    body = (await http.post(URL, json={"prompt": "Hi"})).json()
    (choice,) = body["choices"]
    assert body["object"] == "text_completion"
    assert body["usage"]["completion_tokens"] == 16
    assert choice["finish_reason"] == "length"
    assert ANSWER.startswith(choice["text"].rstrip("\ufffd"))


async def test_the_default_shrinks_before_it_makes_a_prompt_too_long(http: httpx.AsyncClient, engine: Any) -> None:
    response = await http.post(URL, json={"prompt": "x" * 508})
    assert response.status_code == 200
    assert engine.submitted[0].sampling.max_new_tokens == 4


async def test_the_default_grows_to_min_tokens(http: httpx.AsyncClient, engine: Any) -> None:
    assert (await http.post(URL, json={"prompt": "Hi", "min_tokens": 20})).status_code == 200
    assert engine.submitted[0].sampling.max_new_tokens == 20


@pytest.mark.parametrize(
    ("prompt", "count"),
    [("Hi", 1), (["Hi", "You"], 2), ([5, 6, 7], 1), ([[5, 6], [7]], 2)],
    ids=["text", "texts", "ids", "lists of ids"],
)
async def test_every_form_of_prompt(http: httpx.AsyncClient, engine: Any, prompt: Any, count: int) -> None:
    body = (await http.post(URL, json={"prompt": prompt, "max_tokens": 5, "n": 2})).json()
    assert [choice["index"] for choice in body["choices"]] == list(range(2 * count))
    assert {choice["text"] for choice in body["choices"]} == {"Hello"}
    assert body["usage"]["prompt_tokens"] == sum(len(one.prompt_ids) for one in engine.submitted) // 2
    assert body["usage"]["completion_tokens"] == 10 * count


async def test_token_ids_arrive_as_they_are(http: httpx.AsyncClient, engine: Any) -> None:
    await http.post(URL, json={"prompt": [[5, 6], [7]], "max_tokens": 1})
    assert [request.prompt_ids for request in engine.submitted] == [[5, 6], [7]]


@pytest.mark.parametrize("stream", [False, True])
async def test_echo_puts_the_prompt_first(http: httpx.AsyncClient, tokenizer: Any, stream: bool) -> None:
    for prompt in ("Say: ", tokenizer.encode("Say: ")):
        body = {"prompt": prompt, "max_tokens": 5, "echo": True, "stream": stream}
        response = await http.post(URL, json=body)
        answers = events(response.text) if stream else [response.json()]
        assert "".join(answer["choices"][0]["text"] for answer in answers) == "Say: Hello"


async def test_a_stream_says_the_same_as_the_whole(http: httpx.AsyncClient) -> None:
    body = {"prompt": "Hi", "max_tokens": 100, "stop": ["Stop"]}
    whole = (await http.post(URL, json=body)).json()
    options = {"stream": True, "stream_options": {"include_usage": True}}
    *chunks, last = events((await http.post(URL, json={**body, **options})).text)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == whole["choices"][0]["text"]
    assert chunks[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"][0]["matched_stop"] == "Stop"
    assert last["usage"] == whole["usage"]


async def test_continuous_usage_counts_up(http: httpx.AsyncClient) -> None:
    body = {"prompt": "Hi", "max_tokens": 5, "stream": True, "stream_options": {"continuous_usage_stats": True}}
    chunks = events((await http.post(URL, json=body)).text)
    assert [chunk["usage"]["completion_tokens"] for chunk in chunks] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("stream", [False, True])
async def test_logprobs_come_in_columns(http: httpx.AsyncClient, stream: bool) -> None:
    body = {"prompt": "Hi", "max_tokens": 3, "logprobs": 1, "stream": stream}
    response = await http.post(URL, json=body)
    answers = events(response.text) if stream else [response.json()]
    columns = [answer["choices"][0]["logprobs"] for answer in answers]
    assert [token for column in columns for token in column["tokens"]] == ["H", "e", "l"]
    assert [value for column in columns for value in column["token_logprobs"]] == [-0.5] * 3
    assert [top for column in columns for top in column["top_logprobs"]] == [{"H": -0.5}, {"e": -0.5}, {"l": -0.5}]
    assert [offset for column in columns for offset in column["text_offset"]] == [0, 1, 2]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("max_tokens", [0, 2])
async def test_an_echo_has_logprobs_too(http: httpx.AsyncClient, engine: Any, stream: bool, max_tokens: int) -> None:
    body = {"prompt": "Hey", "max_tokens": max_tokens, "echo": True, "logprobs": 1, "stream": stream}
    response = await http.post(URL, json=body)
    answers = events(response.text) if stream else [response.json()]
    columns = [one for answer in answers if (one := answer["choices"][0]["logprobs"])]
    assert [token for column in columns for token in column["tokens"]] == [*"Hey", *"He"[:max_tokens]]
    drawn = [-0.5] * max_tokens
    assert [value for column in columns for value in column["token_logprobs"]] == [None, -1.0, -2.0, *drawn]
    tops = [top for column in columns for top in column["top_logprobs"]]
    assert tops[:3] == [None, {"e": -1.0}, {"y": -2.0}]
    assert [offset for column in columns for offset in column["text_offset"]] == list(range(3 + max_tokens))
    assert engine.submitted[0].sampling.prompt_logprobs == 1


async def test_logprobs_without_an_echo_are_of_the_answer_only(http: httpx.AsyncClient, engine: Any) -> None:
    await http.post(URL, json={"prompt": "Hey", "max_tokens": 1, "logprobs": 1})
    assert engine.submitted[0].sampling.prompt_logprobs is None


async def test_the_drawn_token_is_always_among_the_likeliest(
    http: httpx.AsyncClient, engine: Any, tokenizer: Any
) -> None:
    (rival,) = tokenizer.encode("x")
    drawn = TokenLogprobs(-3.0, [(rival, -0.1)])
    engine.script = lambda request: [
        TokenDelta(tokenizer.encode("a"), Finish(reason="length"), logprobs=[drawn], cached_tokens=0)
    ]
    (choice,) = (await http.post(URL, json={"prompt": "Hi", "max_tokens": 1, "logprobs": 1})).json()["choices"]
    assert choice["logprobs"]["top_logprobs"] == [{"x": -0.1, "a": -3.0}]


def speak_ever_likelier(engine: Any) -> None:
    """The answers to a prompt are a, b, c, …, each likelier than the one before."""

    def script(request: Any) -> list[TokenDelta]:
        place = int(request.request_id.rpartition("-")[2])
        token_ids = engine.tokenizer.encode("abcdef"[place])
        entries = [] if request.sampling.logprobs is None else [TokenLogprobs(place - 9.0, [])]
        return [TokenDelta(token_ids, Finish(reason="length"), logprobs=entries)]

    engine.script = script


async def test_best_of_answers_with_the_likeliest(http: httpx.AsyncClient, engine: Any) -> None:
    speak_ever_likelier(engine)
    body = {"prompt": ["Hi", "You"], "max_tokens": 1, "n": 2, "best_of": 3, "echo": True}
    answer = (await http.post(URL, json=body)).json()
    assert [choice["text"] for choice in answer["choices"]] == ["Hic", "Hib", "Youf", "Youe"]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert [choice["logprobs"] for choice in answer["choices"]] == [None] * 4
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (5, 6)
    (shown, _) = (await http.post(URL, json={**body, "prompt": "Hi", "logprobs": 0, "echo": False})).json()["choices"]
    assert shown["logprobs"]["token_logprobs"] == [-7.0]


async def test_best_of_as_many_as_n_judges_nothing(http: httpx.AsyncClient, engine: Any) -> None:
    speak_ever_likelier(engine)
    answer = (await http.post(URL, json={"prompt": "Hi", "max_tokens": 1, "n": 2, "best_of": 2})).json()
    assert [choice["text"] for choice in answer["choices"]] == ["a", "b"]
    assert engine.submitted[0].sampling.logprobs is None


@pytest.mark.parametrize("fields", [{"n": 3, "best_of": 2}, {"best_of": 2, "stream": True}, {"best_of": 129}])
async def test_best_of_that_cannot_be(http: httpx.AsyncClient, engine: Any, fields: dict[str, Any]) -> None:
    refused = await http.post(URL, json={"prompt": "Hi", **fields})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "best_of")
    assert not engine.submitted


async def test_prompt_logprobs_come_as_vllm_sends_them(http: httpx.AsyncClient, tokenizer: Any) -> None:
    body = {"prompt": ["Hey", "Yo"], "max_tokens": 1, "prompt_logprobs": 1}
    hey, yo = (await http.post(URL, json=body)).json()["choices"]
    e, y, o = (str(tokenizer.encode(letter)[0]) for letter in "eyo")
    assert hey["prompt_logprobs"] == [
        None,
        {e: {"logprob": -1.0, "rank": 1, "decoded_token": "e"}},
        {y: {"logprob": -2.0, "rank": 1, "decoded_token": "y"}},
    ]
    assert [list(one) for one in yo["prompt_logprobs"][1:]] == [[o]]
    assert hey["logprobs"] is None
    none = {**body, "prompt_logprobs": 0}
    (_, first, _), _ = (one["prompt_logprobs"] for one in (await http.post(URL, json=none)).json()["choices"])
    assert first == {e: {"logprob": -1.0, "rank": None, "decoded_token": "e"}}
    assert "prompt_logprobs" not in (await http.post(URL, json={"prompt": "Hey"})).json()["choices"][0]


async def test_prompt_logprobs_and_an_echo_each_show_what_was_asked_for(http: httpx.AsyncClient) -> None:
    body = {"prompt": "Hey", "max_tokens": 1, "echo": True, "logprobs": 0, "prompt_logprobs": 1}
    (choice,) = (await http.post(URL, json=body)).json()["choices"]
    assert choice["logprobs"]["token_logprobs"] == [None, -1.0, -2.0, -0.5]
    assert choice["logprobs"]["top_logprobs"] == [None, {"e": -1.0}, {"y": -2.0}, {"H": -0.5}]
    assert [one["rank"] for place in choice["prompt_logprobs"][1:] for one in place.values()] == [1, 1]


async def test_prompt_logprobs_do_not_come_in_a_stream(http: httpx.AsyncClient) -> None:
    response = await http.post(URL, json={"prompt": "Hey", "stream": True, "prompt_logprobs": 0})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "prompt_logprobs")


async def test_no_tokens_wanted_gives_an_empty_text(http: httpx.AsyncClient) -> None:
    body = (await http.post(URL, json={"prompt": "Hi", "max_tokens": 0})).json()
    assert body["choices"][0]["text"] == ""
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 0
