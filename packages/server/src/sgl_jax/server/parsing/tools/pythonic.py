"""Pythonic: `[f(a=1), g(b="x")]`, as the whole answer, or in a frame of special tokens (Llama 4, LFM2)."""

from __future__ import annotations

import json
from collections.abc import Container

from sgl_jax.server.parsing.brackets import Brackets
from sgl_jax.server.parsing.output import Output
from sgl_jax.server.parsing.reader import Malformed, Markers, Reader, Reading
from sgl_jax.server.parsing.tools.content import copy_content, give_back
from sgl_jax.server.parsing.tools.declared import Tools
from sgl_jax.server.parsing.tools.python_literals import keyword_arguments

FRAMES = {"<|python_start|>": "<|python_end|>", "<|tool_call_start|>": "<|tool_call_end|>"}
_OPENS = Markers(*FRAMES)
_LONGEST = 2**18
"""Characters of one call at most: reading it takes many times its size in memory."""


def pythonic(text: Reader, output: Output, tools: Tools) -> Reading[None]:
    """Reads an answer in this format. Without a frame, only an answer that begins with declared calls holds calls."""
    text.hold()
    yield from text.skip_space()
    if (yield from text.peek()) == "[":
        yield from _list(text, output, only=tools)
    else:
        text.rewind()
    while marker := (yield from copy_content(text, output, _OPENS)):
        yield from text.skip_space()
        if (yield from _list(text, output, only=None)):
            yield from text.accept_spaced(FRAMES[marker])


def _list(text: Reader, output: Output, only: Container[str] | None) -> Reading[bool]:
    """Reads a list of calls, with the reader holding where it begins.

    From what is no call on, all is given back. Returns whether the list is whole.
    """
    try:
        yield from text.expect("[")
        yield from text.skip_space()
        yield from _call(text, output, only)
        while not (yield from text.accept_spaced("]")):
            text.hold()
            yield from text.skip_space()
            yield from text.expect(",")
            yield from text.skip_space()
            yield from _call(text, output, only)
    except Malformed:
        give_back(text, output)
        return False
    return True


def _call(text: Reader, output: Output, only: Container[str] | None) -> Reading[None]:
    name = yield from text.name()
    if only is not None and name not in only:
        raise Malformed
    parts: list[str] = []
    brackets = Brackets("\"'", "([{", ")]}")
    if (yield from text.peek()) != "(" or not (yield from text.copy_while(brackets.end_of, parts.append)):
        raise Malformed
    source = "".join(parts)
    if len(source) > _LONGEST:
        raise Malformed
    arguments = keyword_arguments(f"call{source}")
    text.release()
    output.begin(name)
    output.arguments(json.dumps(arguments, ensure_ascii=False))
    output.end()
