"""Arguments that a model writes as tagged text, each on its own, made JSON text as they come."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sgl_jax.server.parsing.json_values import decode
from sgl_jax.server.parsing.output import Output
from sgl_jax.server.parsing.reader import Malformed, Markers, Reader, Reading
from sgl_jax.server.parsing.tools.declared import Tools, json_type, parameter_types
from sgl_jax.server.parsing.tools.python_literals import literal


@dataclass(frozen=True, slots=True)
class Tags:
    """How a format spells an argument.

    Attributes:
        key, key_end: around the parameter's name.
        value: before the value, after white space; empty when nothing is.
        lead: what the value may begin with that is not part of it.
        value_ends: what ends the value.
        close: what ends the call.
    """

    key: str
    key_end: str
    value: str
    lead: str
    value_ends: Markers
    close: str


def tagged_arguments(text: Reader, output: Output, tools: Tools, function: str, tags: Tags) -> Reading[None]:
    """Reads a call's arguments and its end, and gives the call out.

    The caller holds where the call begins.

    Raises:
        Malformed: this is no call, and nothing was given out; or what follows an argument does not belong
            there, and the call, which is given out already, ends with it. What is held is to be given back.
    """
    parameter = yield from _next_parameter(text, tags)
    text.release()
    writer = _Writer(text, output)
    output.begin(function)
    try:
        while parameter is not None:
            types = parameter_types(tools, function, parameter)
            yield from writer.copy(parameter, types, tags)
            text.hold()
            parameter = yield from _next_parameter(text, tags)
            text.release()
    except Malformed:
        if not text.ended:  # else the call was cut short, and must not look complete
            writer.close()
        output.end()
        raise
    writer.close()
    output.end()


def _next_parameter(text: Reader, tags: Tags) -> Reading[str | None]:
    """The name of the next parameter, whose value comes next; None where the call ends."""
    yield from text.skip_space()
    if (yield from text.accept(tags.close)):
        return None
    yield from text.expect(tags.key)
    name = yield from text.until(tags.key_end)
    if tags.value:
        yield from text.skip_space()
        yield from text.expect(tags.value)
    return name


class _Writer:
    """Makes one JSON object of a call's arguments.

    A parameter that can only be a string is given out while it comes; any other when it is whole,
    because its text decides about its type.
    """

    def __init__(self, text: Reader, output: Output) -> None:
        self._text = text
        self._output = output
        self._before = "{"

    def copy(self, parameter: str, types: frozenset[str], tags: Tags) -> Reading[None]:
        """Reads one argument's value, up to and over the marker after it."""
        write = self._output.arguments
        yield from self._text.accept(tags.lead)
        write(f"{self._before}{_quoted(parameter)}: ")
        self._before = ", "
        if types == {"string"}:
            write('"')
            if (yield from self._text.copy_until(tags.value_ends, lambda piece: write(_quoted(piece)[1:-1]))):
                write('"')
        else:
            parts: list[str] = []
            if (yield from self._text.copy_until(tags.value_ends, parts.append)):
                write(_typed("".join(parts), types))
            else:  # cut short, and must not look complete
                write(_quoted("".join(parts))[:-1])

    def close(self) -> None:
        """Ends the object."""
        self._output.arguments("{}" if self._before == "{" else "}")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _typed(written: str, types: frozenset[str]) -> str:
    """JSON text of a value that the model wrote without saying whether it is a string."""
    try:
        value = decode(written)
        if not types or _fits(json_type(value), types):
            return written.strip()
    except Malformed:
        pass
    if "string" in types or not types:
        return _quoted(written)
    try:
        return json.dumps(literal(written.strip()), ensure_ascii=False)
    except Malformed:
        return _quoted(written)


def _fits(type: str, types: frozenset[str]) -> bool:
    return type in types or (type == "integer" and "number" in types)
