"""`client.chat.parse`: a Python type as the form of an answer, for both clients."""

from __future__ import annotations

import json
from dataclasses import dataclass

import httpx
import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator

from sgl_jax.client import (
    AnswerError,
    InvalidResponseError,
    RefusedAnswerError,
    SglJax,
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


def streamed(text, finish_reason="stop", **last):
    """An answer of events, a letter each, as a server sends them."""
    head = {"id": "c1", "object": "chat.completion.chunk", "model": "tiny"}
    deltas = [{"role": "assistant", "content": ""}, *({"content": letter} for letter in text), last]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices[-1]["finish_reason"] = finish_reason
    events = [json.dumps({**head, "choices": [choice]}) for choice in choices]
    body = "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"])
    return httpx.Response(200, text=body, headers={"content-type": "text/event-stream", "x-request-id": "req-1"})


def of_the_stream(open_stream, read):
    """An action for `use`: opens a stream with either client, and reads it by a method's name."""

    def act(client):
        if isinstance(client, SglJax):
            with open_stream(client) as stream:
                return getattr(stream, read)()

        async def act_async():
            async with open_stream(client) as stream:
                return await getattr(stream, read)()

        return act_async()

    return act


WAYS = {
    "stream": lambda client: client.chat.stream("Name a city.", City, temperature=0),
    "completions": lambda client: client.chat.completions.stream(
        messages="Name a city.", response_format=City, temperature=0
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_streamed_answer_is_an_object_at_the_end(way, use):
    city, server = use(streamed(ROME), of_the_stream(WAYS[way], "get_final_parsed"))
    assert city == City(name="Rome", country=Country(name="Italy", code="IT"))
    assert (server.body["stream"], server.body["temperature"]) == (True, 0)
    assert server.body["stream_options"] == {"include_usage": True}
    assert server.body["response_format"]["json_schema"]["name"] == "City"


@pytest.mark.parametrize("read", ["get_final_response", "get_final_completion"])
def test_the_whole_of_a_streamed_object(read, use):
    answer, _ = use(streamed(ROME), of_the_stream(WAYS["stream"], read))
    assert (answer.parsed.name, answer.text, answer.id) == ("Rome", ROME, "c1")


def test_the_text_of_a_streamed_object_comes_as_it_is_written(connect):
    client, _ = connect(streamed(ROME))
    with WAYS["stream"](client) as stream:
        assert "".join(stream.text_stream) == ROME
        assert stream.get_final_message().text == ROME
        assert stream.get_final_parsed().name == "Rome"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (streamed(ROME[:20], "length"), TruncatedAnswerError),
        (streamed("", refusal="I would rather not."), RefusedAnswerError),
        (streamed("[]"), UnfitAnswerError),
        (httpx.Response(200, text="data: [DONE]\n\n", headers={"x-request-id": "req-1"}), InvalidResponseError),
    ],
)
def test_a_streamed_answer_of_which_no_object_can_be_made(answer, error, connect):
    client, _ = connect(answer)
    with WAYS["stream"](client) as stream, pytest.raises(error) as caught:
        stream.get_final_parsed()
    assert caught.value.request_id == "req-1"


def test_a_stream_takes_a_form_that_is_no_type(connect):
    client, server = connect(streamed("{}"))
    with client.chat.completions.stream(messages="x", response_format={"type": "json_object"}) as stream:
        assert stream.get_final_completion().text == "{}"
    assert server.body["response_format"] == {"type": "json_object"}


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
