"""Structured output through the official `openai` SDK."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel

SAID = '{"kind": "cat", "names": ["Mimi"], "age": null}'
MESSAGES: Any = [{"role": "user", "content": "Hi"}]


class Pet(BaseModel):
    kind: Literal["cat", "dog"]
    names: list[str]
    age: int | None


@pytest.fixture
def speaker(make_speaker: Callable[..., Any]) -> Any:
    return make_speaker(SAID, "{{ messages[0].content }}")


@pytest.fixture
def client(speaker: Any, serve: Callable[[Any], str]) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=serve(speaker[0]) + "/v1", api_key="none", max_retries=0) as client:
        yield client


def test_parse(client: openai.OpenAI, speaker: Any) -> None:
    answer = client.chat.completions.parse(model="default", messages=MESSAGES, response_format=Pet)
    assert answer.choices[0].message.parsed == Pet(kind="cat", names=["Mimi"], age=None)
    grammar = speaker[1].submitted[0].sampling.grammar
    assert (grammar.kind, grammar.lenient) == ("json_schema", False)
    schema = json.loads(grammar.text)
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["kind", "names", "age"]


def test_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="default", messages=MESSAGES, response_format=Pet) as stream:
        final = [event for event in stream if event.type == "content.done"]
    assert [event.parsed for event in final] == [Pet(kind="cat", names=["Mimi"], age=None)]


def test_the_extensions_of_others(client: openai.OpenAI, speaker: Any) -> None:
    client.chat.completions.create(model="default", messages=MESSAGES, extra_body={"regex": "a"})
    client.completions.create(model="default", prompt="Hi", extra_body={"structured_outputs": {"choice": ["a"]}})
    assert [request.sampling.grammar.kind for request in speaker[1].submitted] == ["regex", "choice"]
    with pytest.raises(openai.BadRequestError) as refusal:
        client.chat.completions.create(model="default", messages=MESSAGES, extra_body={"regex": "a", "ebnf": "b"})
    assert refusal.value.param == "ebnf"


def test_the_guides_example_works(
    make_speaker: Callable[..., Any], serve: Callable[[Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    guide = (Path(__file__).parents[4] / "docs/guides/http-api.md").read_text(encoding="utf-8")
    _, code = re.findall(r"^```python\n(.*?)^```$", guide, flags=re.MULTILINE | re.DOTALL)
    said = '{"name": "Ada", "born": 1815, "hobbies": []}'
    app, _ = make_speaker(said, "{{ messages[0].content }}")
    names: dict[str, Any] = {"__name__": "guide"}
    exec(compile(code.replace("http://127.0.0.1:30000", serve(app)), "http-api.md", "exec"), names)
    names["client"].close()
    assert capsys.readouterr().out == f"{said}\n"
