"""`POST /parse_function_call` and `/separate_reasoning`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.anyio

CALL = '{"name": "f", "parameters": {"a": 1}}'
TOOLS = [{"type": "function", "function": {"name": "f"}}]


async def test_calls(http: httpx.AsyncClient) -> None:
    body = {"text": f"Sure. <|python_tag|>{CALL};{CALL}", "tools": TOOLS, "tool_call_parser": "llama3"}
    response = await http.post("/parse_function_call", json=body)
    assert response.json() == {
        "normal_text": "Sure.",
        "calls": [{"tool_index": index, "name": "f", "parameters": '{"a": 1}'} for index in (0, 1)],
    }


async def test_reasoning(http: httpx.AsyncClient) -> None:
    body = {"text": "Hm.</think>\n\nYes.", "reasoning_parser": "deepseek-r1"}
    response = await http.post("/separate_reasoning", json=body)
    assert response.json() == {"reasoning_text": "Hm.", "text": "Yes."}
    body["text"] = "x" * 10_000 + body["text"]
    assert (await http.post("/separate_reasoning", json=body)).json()["text"] == "Yes."


async def test_the_models_own_format_is_the_default(make_speaker: Callable[..., Any], connect: Any) -> None:
    app, _ = make_speaker("Hi", "{# [TOOL_CALLS] [THINK] #}")
    async with connect(app) as http:
        body = {"text": '[TOOL_CALLS]f[ARGS]{"a": 1}', "tools": TOOLS}
        assert len((await http.post("/parse_function_call", json=body)).json()["calls"]) == 1
        answer = (await http.post("/separate_reasoning", json={"text": "[THINK]a[/THINK]b"})).json()
        assert answer == {"reasoning_text": "a", "text": "b"}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/parse_function_call", {"text": "", "tools": TOOLS}, "tool_call_parser"),
        ("/parse_function_call", {"text": "", "tools": TOOLS, "tool_call_parser": "none"}, "tool_call_parser"),
        ("/parse_function_call", {"text": "", "tools": TOOLS, "tool_call_parser": "x"}, "tool_call_parser"),
        ("/parse_function_call", {"text": "", "tools": [{}]}, "tools[0].function"),
        ("/parse_function_call", {"text": "a" * (2**20 + 1), "tools": TOOLS}, "text"),
        ("/separate_reasoning", {"text": ""}, "reasoning_parser"),
        ("/separate_reasoning", {"text": "", "reasoning_parser": "hermes"}, "reasoning_parser"),
    ],
)
async def test_mistakes(http: httpx.AsyncClient, path: str, body: dict[str, Any], param: str) -> None:
    response = await http.post(path, json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
