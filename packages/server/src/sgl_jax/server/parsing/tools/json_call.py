"""A call as a JSON object: `{"name": "f", "arguments": {…}}`, as most formats frame it."""

from __future__ import annotations

from collections.abc import Container

from sgl_jax.server.parsing.json_values import copy_arguments, read_object, read_string, skip_scalar
from sgl_jax.server.parsing.output import Output
from sgl_jax.server.parsing.reader import Malformed, Reader, Reading

_ARGUMENTS = ("arguments", "parameters")
_IGNORED = ("id", "type")
"""Members that models copy from their prompt's history; the server gives ids of its own."""


def json_call(text: Reader, output: Output, only: Container[str] | None = None) -> Reading[None]:
    """Reads one call and gives it out, the arguments as they come.

    The caller holds where the call begins.

    Args:
        only: where nothing but its own form marks a call: the names that make it one, and it must have arguments.

    Raises:
        Malformed: this is no call; nothing was given out.
    """
    name: str | None = None
    arguments: str | None = None
    yield from text.expect("{")
    while True:
        match (yield from _key(text)):
            case "name" if name is None:
                name = yield from read_string(text)
                if not name or (only is not None and name not in only):
                    raise Malformed
            case key if key in _ARGUMENTS and arguments is None:
                if name is not None:
                    yield from copy_arguments(text, output, name)
                    yield from _close(text)
                    return
                arguments = yield from read_object(text)
            case key if key in _IGNORED:
                yield from skip_scalar(text)
            case _:
                raise Malformed
        yield from text.skip_space()
        if (yield from text.accept("}")):
            break
        yield from text.expect(",")
    if name is None or (arguments is None and only is not None):
        raise Malformed
    text.release()
    output.begin(name)
    output.arguments(arguments or "{}")
    output.end()


def _key(text: Reader) -> Reading[str]:
    yield from text.skip_space()
    key = yield from read_string(text)
    yield from text.skip_space()
    yield from text.expect(":")
    yield from text.skip_space()
    return key


def _close(text: Reader) -> Reading[None]:
    """Reads the rest of the object behind its arguments. What does not belong there is left unread."""
    while not (yield from text.accept_spaced("}")):
        text.hold()
        try:
            yield from text.skip_space()
            yield from text.expect(",")
            if (yield from _key(text)) not in _IGNORED:
                raise Malformed
            yield from skip_scalar(text)
        except Malformed:
            text.rewind()
            return
        text.release()
