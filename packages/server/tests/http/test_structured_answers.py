"""Structured output over HTTP with the whole engine behind, but for the device: its masks, its jumps, its refusals."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jsonschema
import pytest

from sgl_jax.engine.async_engine import AsyncEngine
from sgl_jax.engine.config.default_model import find_default_model
from sgl_jax.engine.messages import Phase
from sgl_jax.engine.text.chat_template import ChatTemplate
from sgl_jax.server.app import create_app
from sgl_jax.server.context import ServerContext
from sgl_jax.server.parsing.chat_format import ChatFormat

pytestmark = [pytest.mark.anyio, pytest.mark.model]

CHAT = "/v1/chat/completions"
HI = [{"role": "user", "content": "Hi"}]
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "colours": {"type": "array", "items": {"enum": ["red", "dark blue"]}, "minItems": 1, "maxItems": 3},
        "born": {"type": "string", "format": "date"},
    },
    "required": ["name", "colours", "born"],
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"properties": {"city": {"enum": ["Bern", "Chur"]}}, "required": ["city"]},
    },
}
TIME = {"type": "function", "function": {"name": "now"}}
FIXED = "The number is ([0-9]), END of the story."


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def http(anyio_backend: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server whose device draws by a hash, as masks allow."""
    path = find_default_model()
    assert path is not None
    async with AsyncEngine(path, device="fake", max_total_tokens=8192) as engine:
        context = ServerContext(
            engine=engine,
            tokenizer=engine.tokenizer,
            chat_template=ChatTemplate.of(engine.tokenizer),
            chat_format=ChatFormat.choose("hermes", "none", None),
            served_model_name="m",
            phase=lambda: Phase("ready"),
        )
        transport = httpx.ASGITransport(app=create_app(context))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


async def chat(http: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    response = await http.post(CHAT, json={"messages": HI, "max_tokens": 300, "seed": 5, **fields})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def streamed(http: httpx.AsyncClient, **fields: Any) -> tuple[list[Any], Any]:
    """Deltas of a stream, and its usage."""
    fields = {"stream": True, "stream_options": {"include_usage": True}, **fields}
    response = await http.post(CHAT, json={"messages": HI, "max_tokens": 300, "seed": 5, **fields})
    assert response.status_code == 200, response.text
    chunks = [json.loads(line[6:]) for line in response.text.split("\n\n") if line.startswith("data: {")]
    *said, last = chunks
    return [chunk["choices"][0]["delta"] for chunk in said], last["usage"]


@pytest.mark.parametrize("strict", [True, False, None])
async def test_a_schema_is_kept_streamed_or_not(http: httpx.AsyncClient, strict: bool | None) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": strict}}
    # Those that are not strict may have further properties without end.
    schema = PERSON if strict else {**PERSON, "additionalProperties": False}
    form["json_schema"]["schema"] = schema
    for seed in range(6):
        whole = await chat(http, response_format=form, seed=seed)
        (choice,) = whole["choices"]
        person = json.loads(choice["message"]["content"])
        jsonschema.validate(person, {**PERSON, "additionalProperties": False})
        assert choice["finish_reason"] == "stop"
        deltas, usage = await streamed(http, response_format=form, seed=seed)
        assert "".join(delta.get("content", "") for delta in deltas) == choice["message"]["content"]
        assert usage["completion_tokens"] == whole["usage"]["completion_tokens"]


@pytest.mark.parametrize(
    ("fields", "pattern"),
    [
        ({"regex": FIXED}, FIXED),
        ({"ebnf": 'root ::= "a" [0-9] "b"'}, "a[0-9]b"),
        ({"structured_outputs": {"choice": ["yes", "no"]}}, "yes|no"),
        ({"response_format": {"type": "structural_tag", "format": {"type": "regex", "pattern": "[ab]+c"}}}, "[ab]+c"),
    ],
)
async def test_other_forms(http: httpx.AsyncClient, fields: dict[str, Any], pattern: str) -> None:
    answer = await chat(http, n=2, **fields)
    assert all(re.fullmatch(pattern, choice["message"]["content"]) for choice in answer["choices"])
    text = (await http.post("/v1/completions", json={"prompt": "Hi", "max_tokens": 200, **fields})).json()
    assert re.fullmatch(pattern, text["choices"][0]["text"])


async def test_native(http: httpx.AsyncClient) -> None:
    body = {"text": ["Hi", "Ho"], "sampling_params": [{"json_schema": {"const": [1, "a"]}}, {"regex": FIXED}]}
    first, second = (await http.post("/generate", json=body)).json()
    assert json.loads(first["text"]) == [1, "a"]
    assert re.fullmatch(FIXED, second["text"])
    assert second["meta_info"]["completion_tokens"] == len(second["output_ids"])
    assert second["meta_info"]["finish_reason"] == {"type": "stop"}


async def test_a_stop_string_in_forced_text(http: httpx.AsyncClient) -> None:
    fields = {"regex": FIXED, "stop": ["END"]}
    answer = await chat(http, **fields)
    (choice,) = answer["choices"]
    assert re.fullmatch(r"The number is [0-9], ", choice["message"]["content"])
    assert (choice["finish_reason"], choice["matched_stop"]) == ("stop", "END")
    deltas, usage = await streamed(http, **fields)
    assert "".join(delta.get("content", "") for delta in deltas) == choice["message"]["content"]
    # With log-probabilities every token is drawn, one a step: the same tokens count.
    drawn = await chat(http, logprobs=True, **fields)
    count = len(drawn["choices"][0]["logprobs"]["content"])
    assert drawn["choices"][0]["message"] == choice["message"]
    assert [count] * 2 == [answer["usage"]["completion_tokens"], usage["completion_tokens"]]


async def test_max_tokens_ends_it_by_length(http: httpx.AsyncClient) -> None:
    answer = await chat(http, regex=FIXED, max_tokens=3)
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "length"
    assert "The number is".startswith(choice["message"]["content"])
    assert answer["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"items": {"uniqueItems": True}}}}},
            "response_format",
            "'uniqueItems' at #/items",
        ),
        ({"guided_json": '{"not": {}}'}, "guided_json", "'not'"),
        ({"json_schema": "{"}, "json_schema", "JSON"),
        ({"regex": "(a"}, "regex", "unclosed"),
        ({"regex": "(a|b|ab)*" * 3000}, "regex", "regex"),
        ({"ebnf": "start: nothing"}, "ebnf", "nothing"),
        ({"structured_outputs": {"choice": []}}, "structured_outputs.choice", "at least one"),
        ({"structural_tag": {"type": "poem"}}, "structural_tag", "poem"),
        (
            {
                "tools": [{"function": {"name": "f", "parameters": {"properties": {"a": {"if": {}}}}}}],
                "tool_choice": "required",
            },
            "tools",
            "'if' at #/properties/a",
        ),
    ],
)
async def test_a_refusal_names_field_and_keyword(
    http: httpx.AsyncClient, fields: dict[str, Any], param: str, says: str, stream: bool
) -> None:
    response = await http.post(CHAT, json={"messages": HI, "stream": stream, "max_tokens": 5, **fields})
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, param)
    assert says in error["message"]


async def test_native_refusals_name_the_path(http: httpx.AsyncClient) -> None:
    body = {"text": "Hi", "sampling_params": {"json_schema": {"contains": {}}}}
    error = (await http.post("/generate", json=body)).json()["error"]
    assert error["param"] == "sampling_params.json_schema"
    assert "'contains'" in error["message"]


class TestTools:
    async def test_required(self, http: httpx.AsyncClient) -> None:
        fields = {"tools": [WEATHER, TIME], "tool_choice": "required", "max_tokens": 900}
        seen = set()
        for seed in range(8):
            answer = await chat(http, seed=seed, **fields)
            (choice,) = answer["choices"]
            calls = choice["message"]["tool_calls"]
            seen.update(call["function"]["name"] for call in calls)
            if choice["finish_reason"] == "tool_calls":
                assert choice["message"]["content"] is None
                for call in calls:
                    arguments = json.loads(call["function"]["arguments"])
                    assert call["function"]["name"] == "now" or arguments["city"] in ("Bern", "Chur")
            else:
                assert choice["finish_reason"] == "length"
            deltas, _ = await streamed(http, seed=seed, **fields)
            pieces = [piece for delta in deltas for piece in delta.get("tool_calls", ())]
            for index, call in enumerate(calls):
                parts = [piece["function"]["arguments"] for piece in pieces if piece["index"] == index]
                assert "".join(parts) == call["function"]["arguments"]
        assert seen == {"weather", "now"}

    async def test_only_one(self, http: httpx.AsyncClient) -> None:
        named = {"type": "function", "function": {"name": "weather"}}
        for fields in ({"tool_choice": named}, {"tool_choice": "required", "parallel_tool_calls": False}):
            tools = [{"type": "function", "function": {**WEATHER["function"], "strict": True}}]
            answer = await chat(http, tools=tools, **fields)
            (choice,) = answer["choices"]
            (call,) = choice["message"]["tool_calls"]
            assert choice["finish_reason"] == "tool_calls"
            assert set(json.loads(call["function"]["arguments"])) == {"city"}

    async def test_a_form_or_calls(self, http: httpx.AsyncClient) -> None:
        form = {"type": "json_schema", "json_schema": {"schema": {"const": "no"}}}
        seen = set()
        for seed in range(6):
            for fields in ({"choice": ["yes"]}, {"regex": "ye+s"}, {"response_format": form}):
                answer = await chat(http, seed=seed, tools=[TIME], parallel_tool_calls=False, **fields)
                message = answer["choices"][0]["message"]
                seen.add(message["content"] or message["tool_calls"][0]["function"]["name"])
        assert seen >= {"yes", '"no"', "now"}
        assert all(re.fullmatch('ye+s|"no"|now', text) for text in seen)
