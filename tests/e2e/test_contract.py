"""What clients may ask, field by field, of a live server with a real model: what works, and what is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest

pytestmark = pytest.mark.model

QUESTION = [{"role": "user", "content": "Name a colour."}]
TWO_TOKENS = 2

SAMPLING: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "hot": {"temperature": 2.0},
    "nucleus": {"top_p": 0.5},
    "top-k": {"top_k": 5},
    "all tokens by top-k": {"top_k": -1},
    "min-p": {"min_p": 0.1},
    "seed": {"seed": 7},
    "a negative seed": {"seed": -7},
    "frequency penalty": {"frequency_penalty": 0.5},
    "presence penalty": {"presence_penalty": -0.5},
    "repetition penalty": {"repetition_penalty": 1.2},
    "bias": {"logit_bias": {"300": 5, "301": -100}},
    "stop": {"stop": "zebra"},
    "stops": {"stop": ["zebra", "lion"]},
    "stop tokens": {"stop_token_ids": [2]},
    "end ignored": {"ignore_eos": True},
    "least tokens": {"min_tokens": 1},
    "special tokens shown": {"skip_special_tokens": False},
    "nulls": {"stop": None, "temperature": None, "logit_bias": None},
    "a user": {"user": "u-1"},
}
"""Accepted by both of OpenAI's routes, with `max_tokens` beside."""

CHAT_ONLY: dict[str, dict[str, Any]] = {
    "the newer name of max_tokens": {"max_tokens": None, "max_completion_tokens": TWO_TOKENS},
    "log-probs": {"logprobs": True},
    "log-probs of rivals": {"logprobs": True, "top_logprobs": 3},
    "plain text asked for": {"response_format": {"type": "text"}},
    "a choice": {"choice": ["red", "blue"]},
    "a regular expression": {"regex": "[a-z]{3}"},
    "tools unused": {
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "tool_choice": "none",
    },
    "arguments of the template": {"chat_template_kwargs": {"enable_thinking": False}},
    "metadata": {"metadata": {"a": "b"}},
}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "temperature below": ({"temperature": -0.1}, "temperature"),
    "temperature as text": ({"temperature": "warm"}, "temperature"),
    "nucleus of nothing": ({"top_p": 0}, "top_p"),
    "nucleus above": ({"top_p": 1.01}, "top_p"),
    "top-k below": ({"top_k": -2}, "top_k"),
    "top-k of half": ({"top_k": 0.5}, "top_k"),
    "min-p above": ({"min_p": 1.01}, "min_p"),
    "frequency penalty above": ({"frequency_penalty": 2.1}, "frequency_penalty"),
    "presence penalty below": ({"presence_penalty": -2.1}, "presence_penalty"),
    "repetition penalty of nothing": ({"repetition_penalty": 0}, "repetition_penalty"),
    "tokens below": ({"max_tokens": -1}, "max_tokens"),
    "tokens as text": ({"max_tokens": "ten"}, "max_tokens"),
    "more least than most": ({"max_tokens": 2, "min_tokens": 3}, "min_tokens"),
    "no answers": ({"n": 0}, "n"),
    "a million answers": ({"n": 1_000_000}, "n"),
    "an empty stop": ({"stop": ""}, "stop"),
    "a number as stop": ({"stop": 5}, "stop"),
    "a bias of no token": ({"logit_bias": {"99999999": 1}}, "logit_bias"),
    "a bias of a word": ({"logit_bias": {"red": 1}}, "logit_bias"),
    "a bias beyond": ({"logit_bias": {"5": 101}}, "logit_bias"),
    "a stop token that is none": ({"stop_token_ids": [99_999_999]}, "stop_token_ids"),
    "a seed beyond": ({"seed": 2**70}, "seed"),
    "a broken regular expression": ({"regex": "("}, "regex"),
    "two grammars": ({"regex": "a", "choice": ["a"]}, ""),
    "another format": ({"response_format": {"type": "xml"}}, "response_format"),
    "a schema that is none": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "thing"}}}},
        "response_format",
    ),
    "a stream as text": ({"stream": "yes"}, "stream"),
}
"""Refused by both routes, with the name of the field."""

NATIVE: dict[str, dict[str, Any]] = {
    "text": {"text": "A colour:"},
    "texts": {"text": ["A colour:", "An animal:"]},
    "tokens": {"input_ids": [300, 301]},
    "lists of tokens": {"input_ids": [[300], [301, 302]]},
    "log-probs": {"text": "A colour:", "return_logprob": True, "top_logprobs_num": 2},
    "prompt log-probs": {"text": "A colour:", "return_logprob": True, "logprob_start_len": 0},
    "chosen log-probs": {"text": "A colour:", "return_logprob": True, "token_ids_logprob": [5, 6]},
    "log-probs for each": {
        "text": ["a", "b"],
        "return_logprob": [True, False],
        "logprob_start_len": [0, -1],
        "top_logprobs_num": [1, 0],
    },
    "what SGLang's client adds": {
        "text": "A colour:",
        "image_data": None,
        "lora_path": None,
        "sampling_params": {"max_new_tokens": TWO_TOKENS, "stop_regex": None},
    },
    "a name": {"text": "A colour:", "rid": "contract"},
    "one set of parameters each": {
        "text": ["a", "b"],
        "sampling_params": [{"max_new_tokens": 1}, {"max_new_tokens": TWO_TOKENS}],
    },
}

ANTHROPIC: dict[str, dict[str, Any]] = {
    "a system prompt": {"system": "Be brief."},
    "blocks": {"messages": [{"role": "user", "content": [{"type": "text", "text": "Name a colour."}]}]},
    "stops": {"stop_sequences": ["zebra"]},
    "sampling": {"temperature": 0.5, "top_p": 0.9, "top_k": 4},
    "metadata": {"metadata": {"user_id": "u"}},
}


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def standard(fields: dict[str, Any]) -> dict[str, Any]:
    """How the SDK is given fields that are not OpenAI's, or whose types it would refuse to write down."""
    return {"extra_body": {"max_tokens": TWO_TOKENS, **fields}}


@pytest.mark.parametrize("name", [*SAMPLING, *CHAT_ONLY])
def test_chat_takes(client: openai.OpenAI, model: str, name: str) -> None:
    fields = standard({**SAMPLING, **CHAT_ONLY}[name])
    whole = client.chat.completions.create(model=model, messages=QUESTION, **fields)  # type: ignore[arg-type]
    assert whole.choices[0].finish_reason in ("stop", "length")
    assert whole.usage is not None
    assert 1 <= whole.usage.completion_tokens <= TWO_TOKENS
    *_, last = client.chat.completions.create(model=model, messages=QUESTION, stream=True, **fields)  # type: ignore[arg-type]
    assert last.choices[0].finish_reason in ("stop", "length")


@pytest.mark.parametrize("name", SAMPLING)
def test_completions_take(client: openai.OpenAI, model: str, name: str) -> None:
    whole = client.completions.create(model=model, prompt=["A colour:", "An animal:"], **standard(SAMPLING[name]))
    assert [choice.index for choice in whole.choices] == [0, 1]
    assert all(choice.finish_reason in ("stop", "length") for choice in whole.choices)
    *_, last = client.completions.create(model=model, prompt="A colour:", stream=True, **standard(SAMPLING[name]))
    assert last.choices[0].finish_reason in ("stop", "length")


def test_the_best_of_three_is_one(client: openai.OpenAI, model: str) -> None:
    answer = client.completions.create(
        model=model, prompt="A colour:", max_tokens=TWO_TOKENS, best_of=3, extra_body={"ignore_eos": True}
    )
    assert [choice.index for choice in answer.choices] == [0]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3 * TWO_TOKENS


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize(
    ("route", "asked"), [("/v1/chat/completions", {"messages": QUESTION}), ("/v1/completions", {"prompt": "a"})]
)
def test_both_refuse(http: httpx.Client, route: str, asked: dict[str, Any], name: str) -> None:
    fields, param = REFUSED[name]
    answer = http.post(route, json={"max_tokens": TWO_TOKENS, **asked, **fields})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert (error["param"] or "").startswith(param)
    assert error["message"]


@pytest.mark.parametrize("name", NATIVE)
def test_generate_takes(http: httpx.Client, name: str) -> None:
    body = {"sampling_params": {"max_new_tokens": TWO_TOKENS}, **NATIVE[name]}
    answer = http.post("/generate", json=body)
    assert answer.status_code == 200, answer.text
    answers = answer.json() if isinstance(answer.json(), list) else [answer.json()]
    assert all(1 <= one["meta_info"]["completion_tokens"] <= TWO_TOKENS for one in answers)


@pytest.mark.parametrize("name", ANTHROPIC)
def test_messages_take(http: httpx.Client, model: str, name: str) -> None:
    body = {"model": model, "max_tokens": TWO_TOKENS, "messages": QUESTION, **ANTHROPIC[name]}
    answer = http.post("/v1/messages", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["stop_reason"] in ("end_turn", "max_tokens")


def test_nothing_is_left_running(stats: Callable[[], dict[str, Any]]) -> None:
    assert stats()["running"] == 0
