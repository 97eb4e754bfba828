"""Hermes and Qwen: `<tool_call>{"name": "f", "arguments": {…}}</tool_call>`, once for each call."""

from __future__ import annotations

from sgl_jax.server.parsing.output import Output
from sgl_jax.server.parsing.reader import Malformed, Markers, Reader, Reading
from sgl_jax.server.parsing.tools.content import copy_content, give_back
from sgl_jax.server.parsing.tools.declared import Tools
from sgl_jax.server.parsing.tools.json_call import json_call

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_OPENS = Markers(OPEN)


def hermes(text: Reader, output: Output, tools: Tools) -> Reading[None]:
    """Reads an answer in this format."""
    while (yield from copy_content(text, output, _OPENS)):
        try:
            yield from text.skip_space()
            yield from json_call(text, output)
        except Malformed:
            give_back(text, output)
        else:
            yield from text.accept_spaced(CLOSE)
