"""Tools and reasoning, through the official `openai` SDK."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

TEMPLATE = "{{ messages[0].content }}{# <tool_call> <think> #}"
SAID = (
    "<think>Hm.</think>I look."
    '<tool_call>\n{"name": "Weather", "arguments": {"city": "Zürich", "days": 3}}\n</tool_call>\n'
    '<tool_call>\n{"name": "Weather", "arguments": {"city": "Bern \\"x\\"", "days": 1}}\n</tool_call>'
)
MESSAGES: Any = [{"role": "user", "content": "Hi"}]


class Weather(BaseModel):
    city: str
    days: int


@pytest.fixture
def client(make_speaker: Callable[..., Any], serve: Callable[[Any], str]) -> Iterator[openai.OpenAI]:
    app, _ = make_speaker(SAID, TEMPLATE)
    with openai.OpenAI(base_url=serve(app) + "/v1", api_key="none", max_retries=0) as client:
        yield client


def test_the_stream_helper_assembles_the_calls(client: openai.OpenAI) -> None:
    done: list[tuple[int, str, Any]] = []
    content = ""
    with client.chat.completions.stream(
        model="default", messages=MESSAGES, tools=[openai.pydantic_function_tool(Weather)]
    ) as stream:
        for event in stream:
            if event.type == "tool_calls.function.arguments.done":
                done.append((event.index, event.name, event.parsed_arguments))
            elif event.type == "content.delta":
                content += event.delta
        completion = stream.get_final_completion()
    weathers = [Weather(city="Zürich", days=3), Weather(city='Bern "x"', days=1)]
    assert done == [(index, "Weather", weather) for index, weather in enumerate(weathers)]
    assert content == "I look."
    (choice,) = completion.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "I look."
    assert [call.function.parsed_arguments for call in choice.message.tool_calls or []] == weathers
    assert choice.message.model_extra
    assert choice.message.model_extra["reasoning_content"] == "Hm."


def test_an_answer_can_be_sent_back(client: openai.OpenAI) -> None:
    tools: Any = [openai.pydantic_function_tool(Weather)]
    answer = client.chat.completions.parse(model="default", messages=MESSAGES, tools=tools)
    message = answer.choices[0].message
    assert message.tool_calls
    assert [call.function.parsed_arguments for call in message.tool_calls] == [
        Weather(city="Zürich", days=3), Weather(city='Bern "x"', days=1),
    ]  # fmt: skip
    results: Any = [
        {"role": "tool", "tool_call_id": call.id, "content": json.dumps({"sky": "blue"})} for call in message.tool_calls
    ]
    again = client.chat.completions.create(model="default", messages=[*MESSAGES, message, *results], tools=tools)
    assert again.choices[0].finish_reason == "tool_calls"


def test_the_guides_example_works(
    make_speaker: Callable[..., Any], serve: Callable[[Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    guide = (Path(__file__).parents[4] / "docs/guides/http-api.md").read_text(encoding="utf-8")
    code, _ = re.findall(r"^```python\n(.*?)^```$", guide, flags=re.MULTILINE | re.DOTALL)
    app, engine = make_speaker("", "{% for m in messages %}{{ m.content }}{% endfor %}{# <tool_call> #}")

    def script(request: Any) -> Any:
        asked = "Sunny in Zurich." not in engine.tokenizer.decode(request.prompt_ids)
        call = '<tool_call>{"name": "get_weather", "arguments": {"city": "Zurich"}}</tool_call>'
        return engine.say(request, call if asked else "Sunny!")

    engine.script = script
    names: dict[str, Any] = {}
    exec(compile(code.replace("http://127.0.0.1:30000", serve(app)), "http-api.md", "exec"), names)
    names["client"].close()
    assert capsys.readouterr().out == "Sunny!\n"
