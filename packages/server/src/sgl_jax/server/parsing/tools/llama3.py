"""Llama 3: `{"name": "f", "parameters": {…}}`, several with `;` between, perhaps after `<|python_tag|>`.

Llama 4 frames the same objects by `<|python_start|>` and `<|python_end|>`.
"""

from __future__ import annotations

from collections.abc import Container

from sgl_jax.server.parsing.output import Output
from sgl_jax.server.parsing.reader import Malformed, Markers, Reader, Reading
from sgl_jax.server.parsing.tools.content import copy_content, give_back
from sgl_jax.server.parsing.tools.declared import Tools
from sgl_jax.server.parsing.tools.json_call import json_call

OPENS = ("<|python_tag|>", "<|python_start|>")
CLOSE = "<|python_end|>"
_OPENS = Markers(*OPENS)


def llama3(text: Reader, output: Output, tools: Tools) -> Reading[None]:
    """Reads an answer in this format. Without a tag, only an answer that begins with a declared call holds calls."""
    text.hold()
    yield from text.skip_space()
    if (yield from text.peek()) == "{":
        yield from _calls(text, output, only=tools)
    else:
        text.rewind()
    while (yield from copy_content(text, output, _OPENS)):
        yield from text.skip_space()
        yield from _calls(text, output, only=None)


def _calls(text: Reader, output: Output, only: Container[str] | None) -> Reading[None]:
    """Reads calls up to what is none, with the reader holding where the first begins."""
    while True:
        try:
            yield from json_call(text, output, only)
        except Malformed:
            give_back(text, output)
            return
        yield from text.accept_spaced(CLOSE)
        text.hold()
        yield from text.skip_space()
        yield from text.accept(";")
        yield from text.skip_space()
        if (yield from text.peek()) != "{":
            text.rewind()
            return
