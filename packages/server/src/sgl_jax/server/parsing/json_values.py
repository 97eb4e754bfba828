"""JSON values, read from text that comes in pieces."""

from __future__ import annotations

import json
import re
from typing import Any

from sgl_jax.server.parsing.brackets import Brackets
from sgl_jax.server.parsing.output import Output
from sgl_jax.server.parsing.reader import NAME_LIMIT, Malformed, Reader, Reading

_SCALAR_LIMIT = 64
_END_OF_SCALAR = re.compile(r"[,}\]\s]")


def read_string(text: Reader, limit: int | None = NAME_LIMIT) -> Reading[str]:
    """Reads a string and decodes it.

    Args:
        limit: most characters, escapes counted as written; None for no bound.

    Raises:
        Malformed: what comes next is no valid string, or a longer one.
    """
    yield from text.expect('"')
    raw: list[str] = []
    escaped = False
    size = 0

    def end_of(piece: str, start: int) -> int | None:
        nonlocal escaped, size
        for at in range(start, len(piece)):
            size += 1
            if escaped:
                escaped = False
            elif piece[at] == "\\":
                escaped = True
            elif piece[at] == '"' or (limit is not None and size > limit):
                return at
        return None

    yield from text.copy_while(end_of, raw.append)
    yield from text.expect('"')
    value = decode(f'"{"".join(raw)}"')
    try:
        value.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which no answer could carry
        raise Malformed from None
    return str(value)


def read_object(text: Reader) -> Reading[str]:
    """Reads an object and returns it as it is written. Raises `Malformed` where none begins, or it does not end."""
    parts: list[str] = []
    if (yield from text.peek()) != "{" or not (yield from text.copy_while(Brackets().end_of, parts.append)):
        raise Malformed
    return "".join(parts)


def skip_scalar(text: Reader) -> Reading[None]:
    """Reads a string, number or literal. Raises `Malformed` for anything else."""
    if (yield from text.peek()) == '"':
        yield from read_string(text)
        return
    raw: list[str] = []
    room = _SCALAR_LIMIT

    def end_of(piece: str, start: int) -> int | None:
        nonlocal room
        found = _END_OF_SCALAR.search(piece, start, start + room)
        if found is not None:
            return found.start()
        if len(piece) - start >= room:
            return start + room
        room -= len(piece) - start
        return None

    yield from text.copy_while(end_of, raw.append)
    decode("".join(raw))


def copy_arguments(text: Reader, output: Output, name: str) -> Reading[None]:
    """Reads a call's arguments, and gives the whole call out, piece by piece, as soon as it is one.

    They are an object; or null, for none; or an object that was written into a string.

    Raises:
        Malformed: they are something else; nothing was given out.
    """
    match (yield from text.peek()):
        case "{":
            text.release()
            output.begin(name)
            yield from text.copy_while(Brackets().end_of, output.arguments)
        case "n":
            yield from text.expect("null")
            _give_out(text, output, name, "{}")
        case '"':
            arguments = yield from read_string(text, limit=None)
            if not isinstance(decode(arguments), dict):
                raise Malformed
            _give_out(text, output, name, arguments)
        case _:
            raise Malformed
    output.end()


def decode(source: str) -> Any:
    """The value of JSON text. Raises `Malformed` for what is not JSON, `NaN` and its like among it."""
    try:
        return json.loads(source, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Malformed from None


def _give_out(text: Reader, output: Output, name: str, arguments: str) -> None:
    text.release()
    output.begin(name)
    output.arguments(arguments)


def _refuse(constant: str) -> None:
    raise Malformed
