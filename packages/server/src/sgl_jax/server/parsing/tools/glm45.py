"""GLM-4.5 and later: `<tool_call>f`, then `<arg_key>k</arg_key><arg_value>v</arg_value>` for each, `</tool_call>`."""

from __future__ import annotations

from sgl_jax.server.parsing.output import Output
from sgl_jax.server.parsing.reader import Malformed, Markers, Reader, Reading
from sgl_jax.server.parsing.tools.content import copy_content, give_back
from sgl_jax.server.parsing.tools.declared import Tools
from sgl_jax.server.parsing.tools.tagged_arguments import Tags, tagged_arguments

OPEN = "<tool_call>"
TAGS = Tags(
    key="<arg_key>",
    key_end="</arg_key>",
    value="<arg_value>",
    lead="",
    value_ends=Markers("</arg_value>"),
    close="</tool_call>",
)
MARKERS = (OPEN, TAGS.close, TAGS.key, TAGS.key_end, TAGS.value, "</arg_value>")
_OPENS = Markers(OPEN)


def glm45(text: Reader, output: Output, tools: Tools) -> Reading[None]:
    """Reads an answer in this format."""
    while (yield from copy_content(text, output, _OPENS)):
        try:
            yield from text.skip_space()
            name = yield from text.name()
            yield from tagged_arguments(text, output, tools, name, TAGS)
        except Malformed:
            give_back(text, output)
