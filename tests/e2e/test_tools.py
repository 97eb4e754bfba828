"""Forced tool calls from the live server: at any temperature, streamed or not, they hold to the function's schema."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import jsonschema
import openai
import pytest

from tests.e2e.server_process import PATIENCE

pytestmark = pytest.mark.model

SCHEMAS: dict[str, dict[str, Any]] = {
    "get_weather": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 8},
            "unit": {"enum": ["celsius", "fahrenheit"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 14},
        },
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
    "set_alarm": {
        "type": "object",
        "properties": {
            "at": {"type": "object", "properties": {"hour": {"type": "integer", "minimum": 0, "maximum": 23}}},
            "loud": {"type": "boolean"},
        },
        "required": ["loud"],
        "additionalProperties": False,
    },
}
SCHEMAS["set_alarm"]["properties"]["at"] |= {"required": ["hour"], "additionalProperties": False}
NAMED = {"type": "function", "function": {"name": "set_alarm"}}


def test_forced_calls_hold_to_their_schemas(url: str, model: str) -> None:
    tools = [{"type": "function", "function": {"name": name, "parameters": one}} for name, one in SCHEMAS.items()]
    ask: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": "How is the weather in Zurich? Wake me up at seven."}],
        "tools": tools,
        "parallel_tool_calls": False,
        "temperature": 1,
        "seed": 1,
        "max_tokens": 120,
    }

    async def whole(client: openai.AsyncOpenAI, choice: Any) -> Any:
        return (await client.chat.completions.create(**ask, tool_choice=choice)).choices[0]

    async def streamed(client: openai.AsyncOpenAI, choice: Any) -> Any:
        async with client.chat.completions.stream(**ask, tool_choice=choice) as stream:
            return (await stream.get_final_completion()).choices[0]

    async def together() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", timeout=PATIENCE) as client:
            return await asyncio.gather(
                *(get(client, choice) for choice in ("required", NAMED) for get in (whole, streamed))
            )

    calls = []
    for choice in asyncio.run(together()):
        assert choice.finish_reason == "tool_calls"
        assert not choice.message.content
        (call,) = choice.message.tool_calls
        jsonschema.validate(json.loads(call.function.arguments), SCHEMAS[call.function.name])
        calls.append((call.function.name, call.function.arguments))
    assert calls[0] == calls[1]
    assert calls[2] == calls[3]
    assert calls[2][0] == "set_alarm"
