"""`/v1/responses`: the same questions as chat asks, answers as items and events."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgl_jax.engine.errors import EngineDeadError
from sgl_jax.engine.messages import Finish, TokenDelta

pytestmark = pytest.mark.anyio

URL = "/v1/responses"
LOOK = {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}
TOOLS = [{"type": "function", **LOOK}, {"type": "function", "name": "listen"}]
CHAT_TOOLS = [{"type": "function", "function": LOOK}, {"type": "function", "function": {"name": "listen"}}]


async def ask(http: Any, **fields: Any) -> Any:
    return await http.ask(URL, {"input": "Hi", **fields})


async def listen(http: Any, **fields: Any) -> list[Any]:
    return numbered(await http.listen(URL, {"input": "Hi", **fields}))


def numbered(events: list[Any]) -> list[Any]:
    """The same events, whose numbers must be right."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def accumulated(events: list[Any]) -> list[Any]:
    """The output items, put together from deltas alone."""
    items: list[Any] = []
    for event in events:
        match event["type"].removeprefix("response."):
            case "output_item.added":
                assert event["output_index"] == len(items)
                items.append(event["item"])
            case "content_part.added":
                items[event["output_index"]]["content"].append(event["part"])
            case "output_text.delta" | "reasoning_text.delta":
                items[event["output_index"]]["content"][0]["text"] += event["delta"]
            case "function_call_arguments.delta":
                items[event["output_index"]]["arguments"] += event["delta"]
            case "output_item.done":
                items[event["output_index"]]["status"] = event["item"]["status"]
                assert items[event["output_index"]] == event["item"]
    return items


def without_ids(value: Any) -> Any:
    return json.loads(re.sub(r"[0-9a-f]{24,32}", "#", json.dumps(value)))


async def test_the_answer(http: httpx.AsyncClient) -> None:
    body = await ask(http, tools=TOOLS, metadata={"a": "b"}, temperature=0.5, instructions="Look!")
    number = body["id"].removeprefix("resp_")
    thought, message, call = body.pop("output")
    assert thought["content"] == [{"type": "reasoning_text", "text": "Hm…"}]
    assert message == {
        "type": "message",
        "id": f"msg_{number}_1",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "I look.", "annotations": [], "logprobs": []}],
    }
    assert (call["name"], json.loads(call["arguments"]), call["status"]) == ("look", {"at": "Zürich"}, "completed")
    assert body.pop("completed_at") >= body.pop("created_at") > 0
    usage = body.pop("usage")
    assert usage["input_tokens_details"]["cached_tokens"] == 2
    assert 0 < usage["output_tokens_details"]["reasoning_tokens"] < usage["output_tokens"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert body == {
        "id": f"resp_{number}",
        "object": "response",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "org/tiny",
        "instructions": "Look!",
        "previous_response_id": None,
        "store": True,
        "background": False,
        "max_output_tokens": None,
        "parallel_tool_calls": True,
        "tools": TOOLS,
        "tool_choice": "auto",
        "text": {"format": {"type": "text"}, "verbosity": None},
        "reasoning": {"effort": None, "summary": None},
        "temperature": 0.5,
        "top_p": 1.0,
        "top_logprobs": 0,
        "truncation": "disabled",
        "service_tier": "default",
        "metadata": {"a": "b"},
        "user": None,
    }


async def test_the_order_of_events(http: httpx.AsyncClient) -> None:
    events = await listen(http, tools=TOOLS)
    names = [event["type"].removeprefix("response.") for event in events]
    assert [name for name, before in zip(names, [None, *names], strict=False) if name != before] == [
        "created",
        "in_progress",
        *("output_item.added", "content_part.added", "reasoning_text.delta"),
        *("reasoning_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"),
        "completed",
    ]
    first, last = events[0]["response"], events[-1]["response"]
    assert (first["status"], first["output"], first["usage"]) == ("in_progress", [], None)
    assert last["output"] == accumulated(events)
    assert {event["item_id"] for event in events if "item_id" in event} == {item["id"] for item in last["output"]}


CALLING = '<tool_call>\n{"name": "look", "arguments": {"at": "Zürich"}}\n</tool_call>'
"""How the model calls a tool."""
FRAGMENTS = [
    "<think>",
    "a",
    "é🚀",
    "</think>",
    "\n",
    "I look. ",
    CALLING,
    "<tool_call>{",
    "{",
]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    parts=st.lists(st.sampled_from(FRAGMENTS), max_size=6),
    cuts=st.lists(st.integers(1, 9), min_size=1, max_size=9),
    reason=st.sampled_from(["stop", "length", "abort"]),
)
def test_the_stream_adds_up_to_the_whole(
    speaker: Any,
    say_in_pieces: Callable[[str, list[int], Any], None],
    connect: Callable[[Any], httpx.AsyncClient],
    parts: list[str],
    cuts: list[int],
    reason: Any,
) -> None:
    app, _ = speaker

    say_in_pieces("".join(parts), cuts, reason)

    async def send() -> tuple[Any, list[Any]]:
        async with connect(app) as http:
            return await ask(http, tools=TOOLS), await listen(http, tools=TOOLS)

    whole, events = asyncio.run(send())
    last = events[-1]["response"]
    assert events[-1]["type"] == f"response.{whole['status']}"
    assert accumulated(events) == last["output"]
    for body in (whole, last):
        del body["created_at"], body["completed_at"]
    assert without_ids(last) == without_ids(whole)
    assert whole["status"] == ("completed" if reason == "stop" else "incomplete")
    assert all(item["status"] == "completed" for item in whole["output"][:-1])


CALL = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at": "x"}'}
CALLED = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "x"}'}}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm"}]}


@pytest.mark.parametrize(
    ("asked", "messages"),
    [
        ({"input": "Hi"}, [{"role": "user", "content": "Hi"}]),
        (
            {"instructions": "Be.", "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]},
            [{"role": "system", "content": "Be."}, {"role": "user", "content": "Hi"}],
        ),
        (
            {"input": [{"role": "developer", "content": "Be."}, {"type": "message", "role": "user", "content": "Hi"}]},
            [{"role": "developer", "content": "Be."}, {"role": "user", "content": "Hi"}],
        ),
        (
            {
                "input": [
                    {"role": "user", "content": "Hi"},
                    THOUGHT,
                    {"role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
                    CALL,
                    {**CALL, "call_id": "c2"},
                    {"type": "function_call_output", "call_id": "c1", "output": "Sun"},
                    {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "A"}]},
                    CALL,
                    {"role": "assistant", "content": "One."},
                    {"role": "assistant", "content": "Two."},
                ]
            },
            [
                {"role": "user", "content": "Hi"},
                {
                    "role": "assistant",
                    "reasoning_content": "Hm",
                    "content": "I look.",
                    "tool_calls": [CALLED, {**CALLED, "id": "c2"}],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "Sun"},
                {"role": "tool", "tool_call_id": "c2", "content": "A"},
                {"role": "assistant", "content": "", "tool_calls": [CALLED]},
                {"role": "assistant", "content": "One."},
                {"role": "assistant", "content": "Two."},
            ],
        ),
        (
            {
                "input": [
                    {"type": "reasoning", "encrypted_content": "x", "summary": []},
                    {"role": "user", "content": ""},
                ]
            },
            [{"role": "user", "content": ""}],
        ),
    ],
)
async def test_items_become_the_prompt_that_chat_makes_of_messages(
    http: httpx.AsyncClient, engine: Any, asked: dict[str, Any], messages: list[Any]
) -> None:
    await ask(http, **asked)
    await http.post("/v1/chat/completions", json={"messages": messages})
    ours, chats = engine.submitted
    assert engine.tokenizer.decode(ours.prompt_ids) == engine.tokenizer.decode(chats.prompt_ids)


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
SAMPLING = {"temperature": 0.3, "top_p": 0.9, "top_k": 5, "seed": 7, "stop": ["x"], "logit_bias": {"5": 1}}


@pytest.mark.parametrize(
    ("ours", "chats"),
    [
        (SAMPLING, SAMPLING),
        ({"max_output_tokens": 9}, {"max_completion_tokens": 9}),
        ({"top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ({"reasoning": {"effort": "none"}}, {"reasoning_effort": "none", "enable_thinking": False}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        (
            {"text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA, "strict": True}}},
            {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA, "strict": True}}},
        ),
        ({"tools": TOOLS}, {"tools": CHAT_TOOLS}),
        ({"tools": TOOLS, "tool_choice": "none"}, {"tools": CHAT_TOOLS, "tool_choice": "none"}),
        (
            {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False},
            {"tools": CHAT_TOOLS, "tool_choice": "required", "parallel_tool_calls": False},
        ),
        (
            {"tools": TOOLS, "tool_choice": {"type": "function", "name": "look"}},
            {"tools": CHAT_TOOLS, "tool_choice": {"type": "function", "function": {"name": "look"}}},
        ),
        (
            {
                "tools": TOOLS,
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "required",
                    "tools": [{"type": "function", "name": "look"}],
                },
            },
            {"tools": CHAT_TOOLS[:1], "tool_choice": "required"},
        ),
    ],
)
async def test_fields_mean_what_they_mean_in_chat(
    http: httpx.AsyncClient, engine: Any, ours: dict[str, Any], chats: dict[str, Any]
) -> None:
    await ask(http, **ours)
    answer = await http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "Hi"}], **chats})
    assert answer.status_code == 200, answer.text
    first, second = engine.submitted
    assert (first.prompt_ids, first.sampling) == (second.prompt_ids, second.sampling)


async def test_log_probabilities_belong_to_the_text(http: httpx.AsyncClient) -> None:
    body = await ask(http, top_logprobs=1, tools=TOOLS)
    entries = body["output"][1]["content"][0]["logprobs"]
    assert "".join(entry["token"] for entry in entries).endswith("I look.")
    assert all(len(entry["top_logprobs"]) == 1 for entry in entries)
    events = await listen(http, top_logprobs=1, tools=TOOLS)
    (done,) = [event for event in events if event["type"] == "response.output_text.done"]
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert [entry for delta in deltas for entry in delta["logprobs"]] == done["logprobs"] == entries


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": "x" * 600}, "input"),
        ({"input": "a\0b"}, "input"),
        ({"input": [{"content": "Hi"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "king", "content": "Hi"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"type": "computer_call"}]}, "input[0].type"),
        ({"input": [{"type": "function_call", "call_id": "c"}]}, "input[0].name"),
        ({"input": [{"type": "function_call", "name": "c"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call_output", "output": "c"}]}, "input[0].call_id"),
        ({"input": [{"type": "item_reference", "id": "msg_x_0"}]}, "input[0].id"),
        ({"input": [{"type": "item_reference", "id": "msg"}]}, "input[0].id"),
        ({"previous_response_id": "resp_x"}, "previous_response_id"),
        ({"max_output_tokens": -1}, "max_output_tokens"),
        ({"max_output_tokens": 10**6}, "max_output_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"stop": ""}, "stop"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "function", "name": ""}]}, "tools[0].name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "name": "x"}}, "tool_choice.name"),
        ({"tools": TOOLS, "tool_choice": {"type": "allowed_tools"}}, "tool_choice.tools"),
        ({"tools": TOOLS, "tool_choice": {"type": "allowed_tools", "tools": [{"name": "x"}]}}, "tool_choice.tools[0]"),
        ({"tools": TOOLS, "tool_choice": {"type": "mcp"}}, "tool_choice.type"),
        ({"text": {"format": {"type": "poem"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"truncation": "auto"}, "truncation"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"),
        ({"lora_path": "x"}, "lora_path"),
    ],
)
async def test_bad_fields(http: httpx.AsyncClient, engine: Any, fields: dict[str, Any], param: str) -> None:
    for stream in (False, True):
        response = await http.post(URL, json={"input": "Hi", "stream": stream, **fields})
        error = response.json()["error"]
        assert (response.status_code, error["param"]) == (400, param), error
        assert param.split("[")[0].split(".")[0] in error["message"] or "prompt" in error["message"]
        assert not re.search(r"messages\[|response_format|max_completion_tokens", error["message"])
    assert not engine.submitted


async def test_a_conversation_goes_on_from_a_stored_answer(http: httpx.AsyncClient, engine: Any) -> None:
    first = await ask(http, input="Hi", instructions="Be brief.", tools=TOOLS)
    call = first["output"][2]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "Sun"}
    await listen(http, input=[output], previous_response_id=first["id"])
    by_hand = [{"role": "user", "content": "Hi"}, *first["output"], output]
    by_reference = [
        {"role": "user", "content": "Hi"},
        *({"type": "item_reference", "id": item["id"]} for item in first["output"]),
        output,
    ]
    await ask(http, input=by_hand)
    await ask(http, input=by_reference)
    _, *prompts = [engine.tokenizer.decode(request.prompt_ids) for request in engine.submitted]
    assert prompts == [prompts[0]] * 3
    assert "Hm…" in prompts[0]
    assert "Be brief." not in prompts[0]  # instructions are of one answer only


async def test_stored_answers_can_be_read_and_forgotten(http: httpx.AsyncClient) -> None:
    whole = await ask(http)
    streamed = (await listen(http))[-1]["response"]
    for body in (whole, streamed):
        url = f"{URL}/{body['id']}"
        assert (await http.get(url)).json() == body
        assert (await http.get(url, params={"stream": "true"})).status_code == 400
        refused = await http.post(f"{url}/cancel")
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "not_supported")
        assert (await http.delete(url)).json() == {"id": body["id"], "object": "response", "deleted": True}
        for gone in (await http.get(url), await http.delete(url), await http.post(f"{url}/cancel")):
            assert (gone.status_code, gone.json()["error"]["code"]) == (404, "response_not_found")


async def test_what_is_not_to_be_stored_is_not(http: httpx.AsyncClient) -> None:
    body = await ask(http, store=False)
    assert body["store"] is False
    assert (await http.get(f"{URL}/{body['id']}")).status_code == 404


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        (Finish(reason="stop", matched="x"), "completed", None),
        (Finish(reason="length"), "incomplete", "max_output_tokens"),
        (Finish(reason="abort"), "incomplete", "abort"),
    ],
)
async def test_how_answers_end(
    http: httpx.AsyncClient, engine: Any, finish: Finish, status: str, reason: str | None
) -> None:
    engine.script = lambda request: [*engine.say(request, "Hello")[:-1], TokenDelta([], finish)]
    body = await ask(http)
    assert (body["status"], (body["incomplete_details"] or {}).get("reason")) == (status, reason)
    assert body["output"][0]["status"] == status


async def test_a_failure_in_mid_stream_is_the_last_event(http: httpx.AsyncClient, engine: Any) -> None:
    engine.script = lambda request: [*engine.say(request, "Hello")[:3], EngineDeadError("It died.")]
    events = await listen(http)
    assert events[-1]["type"] == "response.failed"
    response = events[-1]["response"]
    assert response["status"] == "failed"
    assert response["error"] == {"code": "server_error", "message": "It died."}
    assert response["output"][0]["content"][0]["text"] == "Hel"
    assert (await http.get(f"{URL}/{response['id']}")).status_code == 404


async def test_a_refusal_has_its_own_status(http: httpx.AsyncClient, engine: Any) -> None:
    full = Finish(reason="error", code="queue_full", message="Full.")
    engine.script = lambda request: [TokenDelta([], full)]
    for stream in (False, True):
        assert (await http.post(URL, json={"input": "Hi", "stream": stream})).status_code == 429


async def test_a_failure_behind_a_keep_alive_still_makes_a_stream(
    make_silent: Callable[..., Any], connect: Callable[[Any], Any]
) -> None:
    app, engine = make_silent(keep_alive_seconds=0.01)

    async def later() -> None:
        await asyncio.sleep(0.05)
        gate.set()

    gate = asyncio.Event()
    engine.script = lambda request: [gate, EngineDeadError("It died.")]
    async with connect(app) as http:
        waiting = asyncio.create_task(later())
        stream = (await http.post(URL, json={"input": "Hi", "stream": True})).text
        await waiting
    assert stream.startswith(": keep-alive\n\n")
    events = numbered(http.events_of(stream.replace(": keep-alive\n\n", "")))
    names = [event["type"].removeprefix("response.") for event in events]
    assert names == ["created", "in_progress", "failed"]
