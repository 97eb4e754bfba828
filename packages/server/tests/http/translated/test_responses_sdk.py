"""`/v1/responses` through the official `openai` SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}: {{ m.reasoning_content }} {{ m.content }}]{% endfor %}"
    + "{# <tool_call> <think> #}"
)
SAID = (
    "<think>Hm.</think>I look."
    '<tool_call>\n{"name": "Weather", "arguments": {"city": "Zürich", "days": 3}}\n</tool_call>\n'
    '<tool_call>\n{"name": "Weather", "arguments": {"city": "Bern \\"x\\"", "days": 1}}\n</tool_call>'
)
WEATHER = {"city": "Zürich", "days": 3}


class Weather(BaseModel):
    city: str
    days: int


@pytest.fixture
def speaker(make_speaker: Callable[..., Any]) -> Any:
    return make_speaker(SAID, TEMPLATE)


@pytest.fixture
def client(speaker: Any, serve: Callable[[Any], str]) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=serve(speaker[0]) + "/v1", api_key="none", max_retries=0) as client:
        yield client


def test_tools_and_reasoning_in_both_forms(client: openai.OpenAI, speaker: Any) -> None:
    tools: Any = [openai.pydantic_function_tool(Weather)["function"] | {"type": "function"}]
    whole = client.responses.create(model="default", input="Hi", tools=tools)
    with client.responses.stream(model="default", input="Hi", tools=tools) as stream:
        events = list(stream)
        streamed = stream.get_final_response()
    assert events[-1].type == "response.completed"
    snapshots = [event.snapshot for event in events if event.type == "response.output_text.delta"]
    assert snapshots[-1] == "I look."
    for response in (whole, streamed):
        assert response.output_text == "I look."
        thought, _, first, second = response.output
        assert thought.type == "reasoning"
        assert [part.text for part in thought.content or ()] == ["Hm."]
        assert first.type == second.type == "function_call"
        assert json.loads(first.arguments) == WEATHER
        assert json.loads(second.arguments)["city"] == 'Bern "x"'
        assert response.usage is not None
        assert response.usage.output_tokens_details.reasoning_tokens > 0
    # What came is sent back as it is, with the calls' results.
    results: Any = [
        {"type": "function_call_output", "call_id": item.call_id, "output": "Sunny."}
        for item in whole.output
        if item.type == "function_call"
    ]
    again = client.responses.create(model="default", input=[*whole.output, *results], tools=tools)
    goes_on = client.responses.create(model="default", input=results, previous_response_id=streamed.id, tools=tools)
    assert again.status == goes_on.status == "completed"
    by_hand, stored = (speaker[1].tokenizer.decode(request.prompt_ids) for request in speaker[1].submitted[-2:])
    assert by_hand == "[assistant: Hm. I look.][tool:  Sunny.][tool:  Sunny.]"
    assert stored == f"[user:  Hi]{by_hand}"
    assert client.responses.retrieve(whole.id) == whole
    client.responses.delete(whole.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(whole.id)
    with pytest.raises(openai.BadRequestError, match="background"):
        client.responses.cancel(again.id)


def test_parse(make_speaker: Callable[..., Any], serve: Callable[[Any], str]) -> None:
    app, engine = make_speaker(json.dumps(WEATHER), "{{ messages[0].content }}")
    with openai.OpenAI(base_url=serve(app) + "/v1", api_key="none", max_retries=0) as client:
        parsed = client.responses.parse(model="default", input="Hi", text_format=Weather)
        with client.responses.stream(model="default", input="Hi", text_format=Weather) as stream:
            streamed = stream.get_final_response()
    assert parsed.output_parsed == streamed.output_parsed == Weather(city="Zürich", days=3)
    grammar = engine.submitted[0].sampling.grammar
    assert (grammar.kind, json.loads(grammar.text)["additionalProperties"]) == ("json_schema", False)


def test_leaving_a_stream_aborts(client: openai.OpenAI, speaker: Any) -> None:
    gate, engine = asyncio.Event(), speaker[1]
    engine.script = lambda request: [*engine.say(request)[:30], gate]
    stream = client.responses.create(model="default", input="Hi", stream=True)
    assert next(iter(stream)).type == "response.created"
    stream.close()
    while not engine.aborted:
        pass
