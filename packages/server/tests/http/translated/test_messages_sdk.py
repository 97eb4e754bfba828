"""`/v1/messages` through the official `anthropic` SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from sgl_jax.server.app import AppOptions
from sgl_jax.server.auth import Keys

TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}: {{ m.reasoning_content }} {{ m.content }}]{% endfor %}"
    + "{# <tool_call> <think> #}"
)
SAID = (
    "<think>Hm.</think>I look."
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Zürich", "days": 3}}\n</tool_call>'
)
HI: Any = [{"role": "user", "content": "Hi"}]
TOOLS: Any = [{"name": "weather", "description": "Says.", "input_schema": {"type": "object", "properties": {}}}]
WEATHER = {"city": "Zürich", "days": 3}


class Weather(BaseModel):
    city: str
    days: int


@pytest.fixture
def speaker(make_speaker: Callable[..., Any]) -> Any:
    return make_speaker(SAID, TEMPLATE)


@pytest.fixture
def client(speaker: Any, serve: Callable[[Any], str]) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=serve(speaker[0]), api_key="none", max_retries=0) as client:
        yield client


def test_tools_and_thinking_in_both_forms(client: anthropic.Anthropic, speaker: Any) -> None:
    ask: Any = {
        "model": "default",
        "max_tokens": 300,
        "tools": TOOLS,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    whole = client.messages.create(messages=HI, **ask)
    with client.messages.stream(messages=HI, **ask) as stream:
        events = list(stream)
        streamed = stream.get_final_message()
    assert [event.text for event in events if event.type == "text"]
    for message in (whole, streamed):
        thought, text, call = message.content
        assert (thought.type, text.type, call.type) == ("thinking", "text", "tool_use")
        assert (thought.thinking, text.text, call.input) == ("Hm.", "I look.", WEATHER)
        assert message.stop_reason == "tool_use"
        assert message.usage.output_tokens > 0
    results: Any = [{"type": "tool_result", "tool_use_id": streamed.content[2].id, "content": "Sunny."}]
    conversation = [*HI, streamed.to_param(), {"role": "user", "content": results}]
    client.messages.create(messages=conversation, **ask)
    (asked,) = speaker[1].submitted[2:]
    assert speaker[1].tokenizer.decode(asked.prompt_ids) == "[user:  Hi][assistant: Hm. I look.][tool:  Sunny.]"
    counted = client.messages.count_tokens(model="default", messages=conversation)
    assert counted.input_tokens == len(asked.prompt_ids)
    with client.messages.stream(model="default", max_tokens=300, messages=HI) as stream:
        assert "".join(stream.text_stream).startswith("I look.")


def test_parse(make_speaker: Callable[..., Any], serve: Callable[[Any], str]) -> None:
    app, engine = make_speaker(json.dumps(WEATHER), "{{ messages[0].content }}")
    with anthropic.Anthropic(base_url=serve(app), api_key="none", max_retries=0) as client:
        parsed = client.messages.parse(model="default", max_tokens=300, messages=HI, output_format=Weather)
    assert parsed.parsed_output == Weather(city="Zürich", days=3)
    assert engine.submitted[0].sampling.grammar.kind == "json_schema"


def test_errors_have_their_classes(make_app: Callable[..., FastAPI], serve: Callable[[FastAPI], str]) -> None:
    url = serve(make_app(options=AppOptions(keys=Keys("key"))))
    with anthropic.Anthropic(base_url=url, api_key="wrong", max_retries=0) as client:
        with pytest.raises(anthropic.AuthenticationError):
            client.messages.create(model="default", max_tokens=3, messages=HI)
        known = client.with_options(default_headers={"Authorization": "Bearer key"})
        with pytest.raises(anthropic.NotFoundError, match="serves 'org/tiny'"):
            known.messages.create(model="claude", max_tokens=3, messages=HI)
        with pytest.raises(anthropic.BadRequestError, match="stop_sequences"):
            known.messages.create(model="default", max_tokens=3, messages=HI, stop_sequences=[""])


def test_leaving_a_stream_aborts(client: anthropic.Anthropic, speaker: Any) -> None:
    gate, engine = asyncio.Event(), speaker[1]
    engine.script = lambda request: [*engine.say(request)[:30], gate]
    stream = client.messages.create(model="default", max_tokens=300, messages=HI, stream=True)
    assert next(iter(stream)).type == "message_start"
    stream.close()
    while not engine.aborted:
        pass
