"""A Python function as a model sees it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from sgl_jax.client._docstring import read_docstring
from sgl_jax.client.tools import Tool, ToolError, text_of


def weather(
    city: str,
    days: Annotated[int, Field(ge=1, description="how far ahead")] = 1,
    unit: Literal["C", "F"] = "C",
    copy: bool | None = None,
) -> str:
    """Forecasts the weather
    of a city.

    It may be wrong.

    Args:
        city: its name,
            in English: "Rome"
        days: not told, for the type says it already
        unit (str): of temperatures

    Returns:
        city: not a parameter
    """
    return f"{city} {days} {unit} {copy}"


def test_a_tool_is_told_by_signature_and_docstring():
    assert Tool.of(weather).definition == {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Forecasts the weather of a city.\n\nIt may be wrong.",
            "parameters": {
                "type": "object",
                "additionalProperties": False,
                "required": ["city"],
                "properties": {
                    "city": {"type": "string", "description": 'its name, in English: "Rome"'},
                    "days": {"type": "integer", "minimum": 1, "default": 1, "description": "how far ahead"},
                    "unit": {
                        "type": "string",
                        "enum": ["C", "F"],
                        "default": "C",
                        "description": "of temperatures",
                    },
                    "copy": {"anyOf": [{"type": "boolean"}, {"type": "null"}], "default": None},
                },
            },
        },
    }


def test_a_strict_tool_wants_every_argument():
    function = Tool.of(weather, strict=True, name="forecast", description="Tells.").definition["function"]
    assert (function["name"], function["description"], function["strict"]) == ("forecast", "Tells.", True)
    assert function["parameters"]["required"] == ["city", "days", "unit", "copy"]


def test_arguments_become_what_the_types_say():
    @dataclass
    class Place:
        name: str

    class Trip(BaseModel):
        to: Place
        on: date

    def book(trip: Trip, *, seats: set[int]) -> Any:
        return trip, seats

    # local types cannot be found by name
    book.__annotations__.update(trip=Trip, seats=set[int])
    trip, seats = Tool.of(book).call('{"trip": {"to": {"name": "Rome"}, "on": "2026-01-02"}, "seats": [3, 3]}')
    assert (trip, seats) == (Trip(to=Place("Rome"), on=date(2026, 1, 2)), {3})


def test_defaults_are_the_functions_own():
    assert Tool.of(weather).call('{"city": "Rome", "copy": true}') == "Rome 1 C True"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("{}", "city: Field required"),
        ("", "city: Field required"),
        ('{"city": "Rome", "days": 0}', "days: Input should be greater than or equal to 1"),
        ('{"city": "Rome", "planet": "Mars"}', "planet: Extra inputs are not permitted"),
        ('{"city": "Ro', "arguments: Invalid JSON"),
        ("[]", "arguments: Input should be an object"),
    ],
)
def test_arguments_that_do_not_fit_are_told(arguments, told):
    with pytest.raises(ToolError, match=told):
        Tool.of(weather).call(arguments)


def test_methods_and_other_callables():
    class Counter:
        """Counts."""

        count = 0

        def add(self, number: int) -> int:
            """Adds."""
            self.count += number
            return self.count

        def __call__(self) -> int:
            return self.count

    counter = Counter()
    tool = Tool.of(counter.add)
    assert (tool.name, tool.description, list(tool.parameters["properties"])) == ("add", "Adds.", ["number"])
    assert tool.call('{"number": 3}') == counter.count == 3
    assert (Tool.of(counter).name, Tool.of(counter).call("{}")) == ("Counter", 3)


def untyped(city): ...
def varied(*cities: str): ...
def open_ended(**cities: str): ...
def placed(city: str, /): ...
def mistyped(city: NoSuchType): ...  # noqa: F821


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (untyped, "needs a type"),
        (varied, r"must not take \*cities"),
        (open_ended, r"must not take \*\*cities"),
        (placed, "must not take city"),
        (mistyped, "NoSuchType"),
    ],
)
def test_what_cannot_be_told_is_refused_at_once(function, why):
    with pytest.raises(TypeError, match=why):
        Tool.of(function)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (None, "null"),
        ({"a": [1, True]}, '{"a":[1,true]}'),
        (date(2026, 1, 2), '"2026-01-02"'),
    ],
)
def test_results_are_text_or_json(value, text):
    assert text_of(value) == text


def test_a_result_that_json_cannot_hold_is_an_error():
    with pytest.raises(TypeError, match="returned object"):
        text_of(object())


@pytest.mark.parametrize(
    ("docstring", "about", "texts"),
    [
        (None, "", {}),
        ("One line.", "One line.", {}),
        (
            "Does.\n\n:param str city: its\n    name\n:param days: ahead\n:returns: text",
            "Does.",
            {"city": "its name", "days": "ahead"},
        ),
        ("Does.\n\nArgs:\n  a: x\n  b: y: z\n\nRaises:\n  c: no", "Does.", {"a": "x", "b": "y: z"}),
        ("Does.\n\nNote: this is text.", "Does.\n\nNote: this is text.", {}),
    ],
)
def test_docstrings(docstring, about, texts):
    assert read_docstring(docstring) == (about, texts)
