"""`/v1/messages`: the same questions as chat asks, answers as Anthropic's blocks and events."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgl_jax.engine.errors import EngineDeadError
from sgl_jax.engine.messages import Finish, TokenDelta
from sgl_jax.server.app import AppOptions
from sgl_jax.server.auth import Keys

pytestmark = pytest.mark.anyio

URL = "/v1/messages"
HI = [{"role": "user", "content": "Hi"}]
QUESTION = {"messages": HI, "max_tokens": 400}
SCHEMA = {"type": "object", "properties": {"at": {"type": "string"}}}
TOOLS = [{"name": "look", "input_schema": SCHEMA}, {"name": "listen", "input_schema": {"type": "object"}}]
CHAT_TOOLS = [
    {"type": "function", "function": {"name": tool["name"], "parameters": tool["input_schema"]}} for tool in TOOLS
]
THINKING = {"type": "enabled", "budget_tokens": 1024}
OFF = {"enable_thinking": False}


def asked(**fields: Any) -> dict[str, Any]:
    return {**QUESTION, **fields}


async def ask(http: Any, **fields: Any) -> Any:
    return await http.ask(URL, asked(**fields))


async def listen(http: Any, **fields: Any) -> Any:
    return await http.listen(URL, asked(**fields))


def accumulated(events: list[Any]) -> Any:
    """The message, put together from its events as Anthropic's SDK does it."""
    message = events[0]["message"]
    inputs: dict[int, str] = {}
    for event in events[1:]:
        match event["type"]:
            case "content_block_start":
                assert event["index"] == len(message["content"])
                message["content"].append(event["content_block"])
            case "content_block_delta":
                block = message["content"][event["index"]]
                match event["delta"]["type"]:
                    case "text_delta":
                        block["text"] += event["delta"]["text"]
                    case "thinking_delta":
                        block["thinking"] += event["delta"]["thinking"]
                    case "input_json_delta":
                        inputs[event["index"]] = inputs.get(event["index"], "") + event["delta"]["partial_json"]
            case "message_delta":
                message |= event["delta"]
                message["usage"] |= event["usage"]
    for index, text in inputs.items():
        try:
            message["content"][index]["input"] = json.loads(text)
        except ValueError:
            assert message["stop_reason"] != "end_turn"
    return message


def without_ids(value: Any) -> Any:
    return json.loads(re.sub(r"[0-9a-f]{24,32}", "#", json.dumps(value)))


async def test_the_answer(http: httpx.AsyncClient) -> None:
    body = await ask(http, tools=TOOLS, thinking=THINKING)
    assert body.pop("id").startswith("msg_")
    assert body["content"].pop()["id"].startswith("call_")
    usage = body.pop("usage")
    assert 0 < usage.pop("output_tokens_details")["thinking_tokens"] < usage["output_tokens"]
    assert usage.pop("input_tokens") > 0
    assert usage.pop("output_tokens") > 0
    assert usage == {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 2}
    assert body == {
        "type": "message",
        "role": "assistant",
        "model": "org/tiny",
        "content": [
            {"type": "thinking", "thinking": "Hm…", "signature": ""},
            {"type": "text", "text": "I look.", "citations": None},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
    }


async def test_the_order_of_events(http: httpx.AsyncClient) -> None:
    events = await listen(http, tools=TOOLS, thinking=THINKING)
    kinds = [f"{event['type']} {event.get('delta', {}).get('type', '')}".strip() for event in events]
    assert [kind for kind, before in zip(kinds, [None, *kinds], strict=False) if kind != before] == [
        "message_start",
        *("content_block_start", "content_block_delta thinking_delta", "content_block_stop"),
        *("content_block_start", "content_block_delta text_delta", "content_block_stop"),
        *("content_block_start", "content_block_delta input_json_delta", "content_block_stop"),
        "message_delta",
        "message_stop",
    ]
    first = events[0]["message"]
    assert (first["content"], first["stop_reason"]) == ([], None)
    assert first["usage"]["input_tokens"] > 0


async def test_reasoning_is_for_those_who_ask_for_it(http: httpx.AsyncClient, engine: Any) -> None:
    for thinking, kinds, variable in (
        (None, ["text"], "False"),
        ({"type": "disabled"}, ["text"], "False"),
        ({"type": "adaptive", "display": "omitted"}, ["text"], ""),
        ({"type": "adaptive"}, ["thinking", "text"], ""),
        (THINKING, ["thinking", "text"], "True"),
    ):
        body = await ask(http, thinking=thinking)
        assert [block["type"] for block in body["content"]] == kinds
        assert body["usage"]["output_tokens_details"]["thinking_tokens"] > 0
        events = await listen(http, thinking=thinking)
        assert without_ids(accumulated(events)["content"]) == without_ids(body["content"])
        assert engine.tokenizer.decode(engine.submitted[-1].prompt_ids).endswith(f"]{variable}")


CALL = '<tool_call>\n{"name": "look", "arguments": {"at": "Zürich"}}\n</tool_call>'
"""How the model calls a tool."""
FRAGMENTS = ["<think>", "a", "é🚀", "</think>", "\n", "I look. ", CALL, "<tool_call>{", "{"]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    parts=st.lists(st.sampled_from(FRAGMENTS), max_size=6),
    cuts=st.lists(st.integers(1, 9), min_size=1, max_size=9),
    reason=st.sampled_from(["stop", "length", "abort"]),
    thinking=st.booleans(),
)
def test_the_stream_adds_up_to_the_whole(
    speaker: Any,
    say_in_pieces: Callable[[str, list[int], Any], None],
    connect: Callable[[Any], httpx.AsyncClient],
    parts: list[str],
    cuts: list[int],
    reason: Any,
    thinking: bool,
) -> None:
    app, _ = speaker

    say_in_pieces("".join(parts), cuts, reason)
    fields = {"tools": TOOLS, "thinking": THINKING if thinking else None}

    async def send() -> tuple[Any, list[Any]]:
        async with connect(app) as http:
            return await ask(http, **fields), await listen(http, **fields)

    whole, events = asyncio.run(send())
    assert without_ids(accumulated(events)) == without_ids(whole)


USE = {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "x"}}
CALLED = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "x"}'}}


@pytest.mark.parametrize(
    ("ours", "chats"),
    [
        ({"system": "Be.", "messages": HI}, [{"role": "system", "content": "Be."}, *HI]),
        (
            {
                "system": [{"type": "text", "text": "Be."}, {"type": "text", "text": "Do.", "cache_control": {}}],
                "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
            },
            [{"role": "system", "content": "Be.\nDo."}, *HI],
        ),
        (
            {
                "messages": [
                    *HI,
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "thinking", "thinking": "Hm", "signature": ""},
                            {"type": "redacted_thinking", "data": "x"},
                            {"type": "text", "text": "I look."},
                            USE,
                            {**USE, "id": "c2"},
                        ],
                    },
                    {
                        "role": "user",
                        "content": [
                            {"type": "tool_result", "tool_use_id": "c1", "content": "Sun"},
                            {
                                "type": "tool_result",
                                "tool_use_id": "c2",
                                "content": [{"type": "text", "text": "A"}],
                                "is_error": True,
                            },
                            {"type": "text", "text": "So?"},
                        ],
                    },
                    {"role": "system", "content": "Be."},
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1"}]},
                ]
            },
            [
                *HI,
                {
                    "role": "assistant",
                    "reasoning_content": "Hm",
                    "content": "I look.",
                    "tool_calls": [CALLED, {**CALLED, "id": "c2"}],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "Sun"},
                {"role": "tool", "tool_call_id": "c2", "content": "A"},
                {"role": "user", "content": "So?"},
                {"role": "system", "content": "Be."},
                {"role": "tool", "tool_call_id": "c1", "content": ""},
            ],
        ),
    ],
)
async def test_blocks_become_the_prompt_that_chat_makes_of_messages(
    http: httpx.AsyncClient, engine: Any, ours: dict[str, Any], chats: list[Any]
) -> None:
    await ask(http, **ours)
    await http.post("/v1/chat/completions", json={"messages": chats, **OFF})
    first, second = engine.submitted
    assert engine.tokenizer.decode(first.prompt_ids) == engine.tokenizer.decode(second.prompt_ids)
    counted = await http.post(f"{URL}/count_tokens", json=ours)
    assert counted.json() == {"input_tokens": len(first.prompt_ids)}


async def test_a_begun_answer_goes_on(make_speaker: Callable[..., Any], connect: Any) -> None:
    app, engine = make_speaker("!", "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}")
    async with connect(app) as http:
        await ask(http, messages=[*HI, {"role": "assistant", "content": "Hello"}])
    assert engine.tokenizer.decode(engine.submitted[0].prompt_ids, skip_special_tokens=False).endswith("Hello")


STRICT = [{**TOOLS[0], "strict": True}]
CHAT_STRICT = [{"type": "function", "function": {"name": "look", "parameters": SCHEMA, "strict": True}}]


@pytest.mark.parametrize(
    ("ours", "chats"),
    [
        ({"temperature": 0.3, "top_p": 0.9, "top_k": 5}, {"temperature": 0.3, "top_p": 0.9, "top_k": 5}),
        ({"stop_sequences": ["x", "y"]}, {"stop": ["x", "y"]}),
        ({"output_config": {"effort": "low"}}, {"reasoning_effort": "low"}),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
            {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
        ),
        ({"tools": TOOLS}, {"tools": CHAT_TOOLS}),
        ({"tools": STRICT}, {"tools": CHAT_STRICT}),
        ({"tools": TOOLS, "tool_choice": {"type": "none"}}, {"tools": CHAT_TOOLS, "tool_choice": "none"}),
        ({"tools": TOOLS, "tool_choice": {"type": "any"}}, {"tools": CHAT_TOOLS, "tool_choice": "required"}),
        (
            {"tools": STRICT, "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            {"tools": CHAT_STRICT, "parallel_tool_calls": False},
        ),
        (
            {"tools": TOOLS, "tool_choice": {"type": "tool", "name": "look"}},
            {"tools": CHAT_TOOLS, "tool_choice": {"type": "function", "function": {"name": "look"}}},
        ),
    ],
)
async def test_fields_mean_what_they_mean_in_chat(
    http: httpx.AsyncClient, engine: Any, ours: dict[str, Any], chats: dict[str, Any]
) -> None:
    await ask(http, max_tokens=100, metadata={"user_id": "u"}, **ours)
    answer = await http.post("/v1/chat/completions", json={"messages": HI, "max_tokens": 100, **OFF, **chats})
    assert answer.status_code == 200, answer.text
    first, second = engine.submitted
    assert (first.prompt_ids, first.sampling) == (second.prompt_ids, second.sampling)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "king", "content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "content"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "messages[0].content[0].tool_use_id"),
        ({"messages": [{"role": "assistant", "content": [{"type": "tool_use"}]}]}, "messages[0].content[0].name"),
        ({"messages": [{"role": "user", "content": "x" * 600}]}, "prompt"),
        ({"messages": [{"role": "user", "content": "\0"}]}, "messages"),
        ({"system": [{"type": "image"}]}, "system[0].type"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"stop_sequences": [""]}, "stop_sequences"),
        ({"stop_sequences": ["a\0"]}, "stop_sequences"),
        ({"stop_sequences": "a"}, "stop_sequences"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"name": "look"}]}, "tools[0].input_schema"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tools": TOOLS, "tool_choice": {"type": "tool", "name": "x"}}, "tool_choice names 'x'"),
        ({"thinking": {"type": "hard"}}, "thinking.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "schema"),
        ({"container": "c"}, "container"),
        ({"mcp_servers": [{"name": "x"}]}, "mcp_servers"),
    ],
)
async def test_bad_fields(http: httpx.AsyncClient, engine: Any, fields: dict[str, Any], says: str) -> None:
    for stream in (False, True):
        response = await http.post(URL, json=asked(stream=stream, **fields) | fields)
        body = response.json()
        assert response.status_code == 400, body
        assert body == {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": body["error"]["message"]},
        }
        assert says in body["error"]["message"]
    assert not engine.submitted


@pytest.mark.parametrize(
    ("method", "path", "headers", "content", "status", "kind"),
    [
        (
            "POST",
            URL,
            {},
            b'{"model": "x", "messages": [{"role": "user", "content": "a"}], "max_tokens": 1}',
            404,
            None,
        ),
        ("GET", URL, {}, b"", 405, "invalid_request_error"),
        ("POST", f"{URL}/batches", {}, b"{}", 404, None),
        ("POST", URL, {}, b"{", 400, "invalid_request_error"),
        ("POST", f"{URL}/count_tokens", {}, b"{}", 400, "invalid_request_error"),
        ("POST", URL, {"content-type": "text/plain"}, b"{}", 415, "invalid_request_error"),
        ("POST", URL, {}, b" " * 3000, 413, "request_too_large"),
        ("POST", URL, {"x-api-key": "wrong"}, b"{}", 401, "authentication_error"),
    ],
)
async def test_every_error_of_these_routes_has_anthropics_shape(
    make_app: Callable[..., FastAPI],
    connect: Callable[[Any], httpx.AsyncClient],
    method: str,
    path: str,
    headers: dict[str, str],
    content: bytes,
    status: int,
    kind: str | None,
) -> None:
    app = make_app(options=AppOptions(keys=Keys("key")), max_body_bytes=2000)
    async with connect(app) as http:
        response = await http.request(method, path, headers={"x-api-key": "key", **headers}, content=content)
    body = response.json()
    assert (response.status_code, body["type"], body["error"]["type"]) == (status, "error", kind or "not_found_error")
    assert body["error"].keys() == {"type", "message"}


@pytest.mark.parametrize(
    ("finish", "max_tokens", "reason", "sequence"),
    [
        (Finish(reason="stop", matched=7), 400, "end_turn", None),
        (Finish(reason="stop", matched="x"), 400, "stop_sequence", "x"),
        (Finish(reason="length"), 5, "max_tokens", None),
        (Finish(reason="length"), 10**9, "model_context_window_exceeded", None),
        (Finish(reason="abort"), 400, "abort", None),
    ],
)
async def test_how_answers_end(
    http: httpx.AsyncClient, engine: Any, finish: Finish, max_tokens: int, reason: str, sequence: str | None
) -> None:
    engine.script = lambda request: [*engine.say(request, "Hello!")[:5], TokenDelta([], finish)]
    body = await ask(http, max_tokens=max_tokens)
    assert (body["stop_reason"], body["stop_sequence"]) == (reason, sequence)
    events = await listen(http, max_tokens=max_tokens)
    assert events[-2]["delta"] == {"stop_reason": reason, "stop_sequence": sequence}


async def test_a_stop_sequence_is_named(http: httpx.AsyncClient) -> None:
    body = await ask(http, stop_sequences=["never", "look"])
    assert (body["stop_reason"], body["stop_sequence"]) == ("stop_sequence", "look")
    assert body["content"] == [{"type": "text", "text": "I ", "citations": None}]


async def test_failures_and_refusals(http: httpx.AsyncClient, engine: Any) -> None:
    engine.script = lambda request: [*engine.say(request, "Hello")[:3], EngineDeadError("It died.")]
    died = {"type": "error", "error": {"type": "overloaded_error", "message": "It died."}}
    assert (await listen(http))[-1] == died
    refused = await http.post(URL, json=asked())
    assert (refused.status_code, refused.json()) == (503, died)
    engine.script = lambda request: [TokenDelta([], Finish(reason="error", code="queue_full", message="Full."))]
    for stream in (False, True):
        full = await http.post(URL, json=asked(stream=stream))
        assert (full.status_code, full.json()["error"]["type"]) == (429, "rate_limit_error")


async def test_silence_is_filled_with_pings(
    make_silent: Callable[..., Any], connect: Callable[[Any], httpx.AsyncClient]
) -> None:
    app, engine = make_silent(keep_alive_seconds=0.01)
    gate = asyncio.Event()
    engine.script = lambda request: [gate, *engine.say(request, "Hi")]
    async with connect(app) as http:
        asking = asyncio.create_task(listen(http))
        await asyncio.sleep(0.05)
        gate.set()
        events = await asking
    assert events[0] == {"type": "ping"}
    assert accumulated([event for event in events if event["type"] != "ping"])["content"][0]["text"] == "Hi"
