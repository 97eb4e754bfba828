"""GLM-4: the function's name on a line, its arguments as JSON on the next. GLM-4.5 has a format of its own."""

from __future__ import annotations

from sgl_jax.server.parsing.json_values import copy_arguments
from sgl_jax.server.parsing.output import Output
from sgl_jax.server.parsing.reader import Malformed, Markers, Reader, Reading
from sgl_jax.server.parsing.tools.content import copy_content, give_back
from sgl_jax.server.parsing.tools.declared import Tools


def glm4(text: Reader, output: Output, tools: Tools) -> Reading[None]:
    """Reads an answer in this format. Nothing marks a call, so only declared names at the very beginning are taken."""
    lines = [f"{name}\n" for name in tools]
    while True:
        text.hold()
        try:
            yield from text.skip_space()
            line = yield from text.accept(*lines)
            if not line:
                raise Malformed
            yield from text.skip_space()
            yield from copy_arguments(text, output, line.rstrip("\n"))
        except Malformed:
            give_back(text, output)
            break
    yield from copy_content(text, output, Markers())
