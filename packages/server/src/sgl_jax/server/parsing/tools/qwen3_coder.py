"""Qwen3-Coder: `<tool_call><function=f>`, then `<parameter=k>`, a line with the value, `</parameter>` for each."""

from __future__ import annotations

from sgl_jax.server.parsing.output import Output
from sgl_jax.server.parsing.reader import Malformed, Markers, Reader, Reading
from sgl_jax.server.parsing.tools.content import copy_content, give_back
from sgl_jax.server.parsing.tools.declared import Tools
from sgl_jax.server.parsing.tools.tagged_arguments import Tags, tagged_arguments

OPEN, CLOSE, FUNCTION = "<tool_call>", "</tool_call>", "<function="
TAGS = Tags(
    key="<parameter=",
    key_end=">",
    value="",
    lead="\n",
    value_ends=Markers("\n</parameter>", "</parameter>"),
    close="</function>",
)
MARKERS = (OPEN, CLOSE)
_OPENS = Markers(OPEN, FUNCTION)  # the model sometimes leaves the outer tag out


def qwen3_coder(text: Reader, output: Output, tools: Tools) -> Reading[None]:
    """Reads an answer in this format."""
    while marker := (yield from copy_content(text, output, _OPENS)):
        try:
            if marker == OPEN:
                yield from text.skip_space()
                yield from text.expect(FUNCTION)
            name = yield from text.name()
            yield from text.expect(">")
            yield from tagged_arguments(text, output, tools, name, TAGS)
        except Malformed:
            give_back(text, output)
        else:
            yield from text.accept_spaced(CLOSE)
