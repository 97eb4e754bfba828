"""Parsers of every format, and how tests drive them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import pytest

from sgl_jax.server.parsing.chat_format import ChatFormat, Wanted
from sgl_jax.server.parsing.events import Answer, CallArguments, CallBegin, CallEnd, Event, assemble
from sgl_jax.server.parsing.parser import Parser

TOOLS = {
    "f": {"type": "object", "properties": {"a": {"type": "integer"}, "s": {"type": "string"}}},
    "get_weather": {"type": "object", "properties": {"city": {"type": "string"}}},
}

NewParser = Callable[..., Parser]
Parse = Callable[..., Answer]


def check_order(events: Iterable[Event]) -> None:
    """Calls come one after another, each with one beginning and one end, and ids of their own."""
    numbers = itertools.count()
    ids: set[str] = set()
    current: int | None = None
    for event in events:
        match event:
            case CallBegin(index, id):
                assert current is None
                assert index == next(numbers)
                assert id not in ids
                ids.add(id)
                current = index
            case CallArguments(index, text):
                assert index == current
                assert text
            case CallEnd(index):
                assert index == current
                current = None
            case _:
                assert current is None, "text within a call"
                assert event.text
    assert current is None


@pytest.fixture(scope="session")
def new_parser() -> NewParser:
    """Makes a parser for an answer, by its formats' names."""

    def make(tools: str = "none", reasoning: str = "none", prompt: str = "", said: str | None = None) -> Parser:
        wanted = Wanted(tools=None if tools == "none" else TOOLS)
        answer = ChatFormat.choose(tools, reasoning, None).answer(wanted, prompt, said)
        assert answer is not None
        return answer.new_parser()

    return make


@pytest.fixture(scope="session")
def parse(new_parser: NewParser) -> Parse:
    """Parses a text, given whole or in pieces."""

    def run(pieces: str | list[str], **formats: str) -> Answer:
        parser = new_parser(**formats)
        events = [event for piece in ([pieces] if isinstance(pieces, str) else pieces) for event in parser.push(piece)]
        events += parser.finish()
        check_order(events)
        return assemble(events)

    return run


@pytest.fixture(scope="session")
def so_far(new_parser: NewParser) -> Parse:
    """What of a text is given out before it ends, when it comes character by character."""

    def run(text: str, **formats: str) -> Answer:
        parser = new_parser(**formats)
        return assemble(event for piece in text for event in parser.push(piece))

    return run
