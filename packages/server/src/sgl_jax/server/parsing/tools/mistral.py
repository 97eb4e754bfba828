"""Mistral: `[TOOL_CALLS][{"name": "f", "arguments": {…}}, …]`, and newer `[TOOL_CALLS]f[ARGS]{…}` for each."""

from __future__ import annotations

from sgl_jax.server.parsing.json_values import copy_arguments
from sgl_jax.server.parsing.output import Output
from sgl_jax.server.parsing.reader import Malformed, Markers, Reader, Reading
from sgl_jax.server.parsing.tools.content import copy_content, give_back
from sgl_jax.server.parsing.tools.declared import Tools
from sgl_jax.server.parsing.tools.json_call import json_call

OPEN, CALL_ID, ARGS = "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"
_OPENS = Markers(OPEN)


def mistral(text: Reader, output: Output, tools: Tools) -> Reading[None]:
    """Reads an answer in either form."""
    while (yield from copy_content(text, output, _OPENS)):
        try:
            yield from text.skip_space()
            match (yield from text.peek()):
                case "[":
                    yield from _list(text, output)
                case "{":
                    yield from json_call(text, output)
                case _:
                    yield from _named(text, output)
        except Malformed:
            give_back(text, output)


def _list(text: Reader, output: Output) -> Reading[None]:
    yield from text.expect("[")
    yield from text.skip_space()
    yield from json_call(text, output)
    while not (yield from text.accept_spaced("]")):
        text.hold()
        yield from text.skip_space()
        yield from text.expect(",")
        yield from text.skip_space()
        yield from json_call(text, output)


def _named(text: Reader, output: Output) -> Reading[None]:
    name = yield from text.name()
    if (yield from text.accept(CALL_ID)):
        yield from text.name()
    yield from text.accept(ARGS)
    yield from text.skip_space()
    yield from copy_arguments(text, output, name)
