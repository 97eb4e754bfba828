"""DeepSeek: `<｜tool▁call▁begin｜>f<｜tool▁sep｜>{…}<｜tool▁call▁end｜>` for each call (V3.1), all in a frame.

V3 and R1 write `function<｜tool▁sep｜>f`, a line break, and the arguments in a fenced block of JSON.
"""

from __future__ import annotations

from sgl_jax.server.parsing.json_values import copy_arguments
from sgl_jax.server.parsing.output import Output
from sgl_jax.server.parsing.reader import SPACE, Malformed, Markers, Reader, Reading
from sgl_jax.server.parsing.tools.content import copy_content, give_back
from sgl_jax.server.parsing.tools.declared import Tools

CALLS_BEGIN, CALLS_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
CALL_BEGIN, CALL_END = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"
SEPARATOR = "<｜tool▁sep｜>"
_OPENS = Markers(CALLS_BEGIN, CALL_BEGIN)
_KIND = "function"
_FENCE = "```"


def deepseek(text: Reader, output: Output, tools: Tools) -> Reading[None]:
    """Reads an answer in either form."""
    while marker := (yield from copy_content(text, output, _OPENS)):
        try:
            if marker == CALLS_BEGIN:
                yield from text.skip_space()
                yield from text.expect(CALL_BEGIN)
            yield from _call(text, output)
        except Malformed:
            give_back(text, output)
        else:
            yield from text.accept_spaced(CALL_END)
            yield from text.accept_spaced(CALLS_END)


def _call(text: Reader, output: Output) -> Reading[None]:
    name = (yield from text.until(SEPARATOR)).strip(SPACE)
    yield from text.skip_space()
    if name == _KIND and (yield from text.peek()) != "{":
        name = (yield from text.until("\n")).strip(SPACE)
        yield from text.skip_space()
        if (yield from text.accept(_FENCE)):
            yield from text.accept("json")
            yield from text.skip_space()
    if not name:
        raise Malformed
    yield from copy_arguments(text, output, name)
    yield from text.accept_spaced(_FENCE)
