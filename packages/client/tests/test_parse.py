"""`client.chat.parse`: a Python type as the form of an answer, for both clients."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator

from sgl_jax.client import (
    AnswerError,
    InvalidResponseError,
    RefusedAnswerError,
    TruncatedAnswerError,
    UnfitAnswerError,
)


class Country(BaseModel):
    """A country."""

    name: str
    code: str = Field("?", description="two letters")


class City(BaseModel):
    name: str
    country: Country = Field(description="where it lies")
    twins: list[Country] = []


ROME = '{"name": "Rome", "country": {"name": "Italy", "code": "IT"}, "twins": []}'


def test_the_answer_is_an_object(use, says):
    answer, _ = use(says(ROME), lambda client: client.chat.parse("Name a city.", City))
    assert answer.parsed == City(name="Rome", country=Country(name="Italy", code="IT"))
    assert answer.text == ROME
    assert answer.usage.total_tokens == 5
    assert "parsed" not in answer.model_dump_json()


def test_the_server_is_given_a_strict_schema(use, says):
    _, server = use(says(ROME), lambda client: client.chat.parse("Name a city.", City, temperature=0, max_tokens=50))
    assert server.body["messages"] == [{"role": "user", "content": "Name a city."}]
    assert (server.body["temperature"], server.body["max_tokens"]) == (0, 50)
    form = server.body["response_format"]
    assert (form["type"], form["json_schema"]["name"], form["json_schema"]["strict"]) == ("json_schema", "City", True)
    schema = form["json_schema"]["schema"]
    for one in (schema, schema["$defs"]["Country"]):
        assert one["additionalProperties"] is False
        assert one["required"] == list(one["properties"])
    assert schema["properties"]["country"] == {"$ref": "#/$defs/Country"}  # alone: OpenAI takes nothing beside it
    assert schema["$defs"]["Country"]["properties"]["code"]["description"] == "two letters"
    assert '"default"' not in server.requests[-1].content.decode()


def test_the_names_of_openai(use, says):
    answer, server = use(
        says(ROME), lambda client: client.chat.completions.parse(messages="Name a city.", response_format=City)
    )
    assert answer.parsed.name == "Rome"
    assert server.body["response_format"]["json_schema"]["name"] == "City"


@dataclass
class Point:
    x: int
    y: int


@pytest.mark.parametrize(
    ("kind", "text", "value", "name"),
    [
        (Point, '{"x": 1, "y": 2}', Point(1, 2), "Point"),
        (list[int], "[1, 2]", [1, 2], "list"),
        (dict[str, Point], '{"a": {"x": 1, "y": 2}}', {"a": Point(1, 2)}, "dict"),
        (bool, "true", True, "bool"),
        (set[int], "[1, 1]", {1}, "set"),  # Python makes the set: not every server can
    ],
)
def test_types_of_other_kinds(kind, text, value, name, connect, says):
    client, server = connect(says(text))
    assert client.chat.parse("x", kind).parsed == value
    form = server.body["response_format"]["json_schema"]
    assert form["name"] == name
    assert "uniqueItems" not in form["schema"]


def test_a_property_may_be_called_default(connect, says):
    class Setting(BaseModel):
        default: int
        title: str = "x"

    client, server = connect(says('{"default": 3, "title": "y"}'))
    assert client.chat.parse("x", Setting).parsed == Setting(default=3, title="y")
    assert server.body["response_format"]["json_schema"]["schema"]["required"] == ["default", "title"]


def test_each_of_n_answers_is_parsed(connect, says):
    answer = says("1")
    answer["choices"].append({**answer["choices"][0], "index": 1, "message": {"content": "2"}})
    client, _ = connect(answer)
    assert client.chat.parse("x", int, n=2).all_parsed == [1, 2]


@pytest.mark.parametrize("reason", ["length", "abort"])
def test_half_an_answer_is_an_error_of_its_own(reason, use, says):
    with pytest.raises(TruncatedAnswerError, match="not whole") as caught:
        use(
            httpx.Response(200, json=says('{"name": "Ro', reason), headers={"x-request-id": "req-1"}),
            lambda client: client.chat.parse("x", City),
        )
    assert caught.value.completion.text == '{"name": "Ro'
    assert caught.value.request_id == "req-1"


def test_a_refusal_is_an_error_of_its_own(use, says):
    answer = says(None)
    answer["choices"][0]["message"]["refusal"] = "I would rather not."
    with pytest.raises(RefusedAnswerError, match="I would rather not") as caught:
        use(answer, lambda client: client.chat.parse("x", City))
    assert caught.value.request_id


@pytest.mark.parametrize("text", ['{"name": "Rome"}', "Rome", None, "[]"])
def test_an_answer_that_does_not_fit_is_an_error_of_its_own(text, use, says):
    with pytest.raises(UnfitAnswerError, match="does not fit City") as caught:
        use(says(text), lambda client: client.chat.parse("x", City))
    assert isinstance(caught.value.__cause__, ValidationError)
    assert isinstance(caught.value, AnswerError)


def test_the_types_own_rules_count(connect, says):
    class Even(BaseModel):
        number: int

        @field_validator("number")
        @classmethod
        def _even(cls, number: int) -> int:
            if number % 2:
                raise ValueError("odd")
            return number

    client, _ = connect(says('{"number": 3}'))
    with pytest.raises(UnfitAnswerError, match="odd"):
        client.chat.parse("x", Even)


@pytest.mark.parametrize("answer", [{"choices": []}, {"choices": 3}, "text"])
def test_what_is_no_chat_answer_is_no_answer_at_all(answer, connect):
    client, _ = connect(answer)
    with pytest.raises(InvalidResponseError):
        client.chat.parse("x", City)


def test_a_recursive_type(connect, says):
    client, server = connect(says('{"value": 1, "next": {"value": 2, "next": null}}'))
    assert client.chat.parse("x", Node).parsed.next == Node(value=2, next=None)
    schema = server.body["response_format"]["json_schema"]["schema"]
    assert schema["$defs"]["Node"]["required"] == ["value", "next"]


class Node(BaseModel):
    value: int
    next: Node | None = Field(None, description="the rest")
