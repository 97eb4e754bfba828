"""What a parser makes of an answer's text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec


class Content(msgspec.Struct, frozen=True):
    """Text for the reader; never empty."""

    text: str


class Reasoning(msgspec.Struct, frozen=True):
    """Text that the model wrote to itself; never empty."""

    text: str


class CallBegin(msgspec.Struct, frozen=True):
    """The tool call number `index` begins: its function's name is known and its arguments follow."""

    index: int
    id: str
    name: str


class CallArguments(msgspec.Struct, frozen=True):
    """The next part of a call's arguments, which are JSON text; never empty."""

    index: int
    text: str


class CallEnd(msgspec.Struct, frozen=True):
    """Nothing more belongs to this call."""

    index: int


Event = Content | Reasoning | CallBegin | CallArguments | CallEnd


@dataclass(slots=True)
class Call:
    """One tool call. `arguments` is JSON text unless the model wrote something else, or was cut short."""

    id: str
    name: str
    arguments: str = ""


@dataclass(slots=True)
class Answer:
    """An answer, taken apart."""

    content: str = ""
    reasoning: str = ""
    calls: list[Call] = field(default_factory=list)


def assemble(events: Iterable[Event]) -> Answer:
    """Puts an answer's events together again."""
    content, reasoning = [], []
    calls: list[Call] = []
    arguments: list[list[str]] = []
    for event in events:
        match event:
            case Content(text):
                content.append(text)
            case Reasoning(text):
                reasoning.append(text)
            case CallBegin(id=id, name=name):
                calls.append(Call(id, name))
                arguments.append([])
            case CallArguments(index, text):
                arguments[index].append(text)
    for call, parts in zip(calls, arguments, strict=True):
        call.arguments = "".join(parts)
    return Answer("".join(content), "".join(reasoning), calls)
