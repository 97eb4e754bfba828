"""Values and calls in Python's spelling, read without ever running them."""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from sgl_jax.server.parsing.reader import Malformed

T = TypeVar("T")

_MAX_BITS = 1024
"""Of a whole number: there are longer ones that Python reads and then refuses to write."""
_NAMES = {"true": True, "false": False, "null": None}
"""Models mix JSON's names with Python's."""


def literal(source: str) -> Any:
    """The value of a literal, as JSON can say it. Raises `Malformed` for anything else."""
    return _guarded(lambda: _value(_parse(source)))


def keyword_arguments(source: str) -> dict[str, Any]:
    """The arguments of a call like `f(a=1, b="x")`, all by name and literal. Raises `Malformed` for anything else."""
    return _guarded(lambda: _keywords(_parse(source)))


def _guarded(read: Callable[[], T]) -> T:
    try:
        return read()
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Malformed from None


def _parse(source: str) -> ast.expr:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a "\d" that should have been "\\d"
        return ast.parse(source, mode="eval").body


def _keywords(node: ast.expr) -> dict[str, Any]:
    if not isinstance(node, ast.Call) or node.args:
        raise Malformed
    found: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg in found:
            raise Malformed
        found[keyword.arg] = _value(keyword.value)
    return found


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=None | bool() as value):
            return value
        case ast.Constant(value=str(value)):
            value.encode()  # raises for half a surrogate pair, which JSON cannot say
            return value
        case ast.Constant(value=int(value)) if value.bit_length() <= _MAX_BITS:
            return value
        case ast.Constant(value=float(value)) if math.isfinite(value):
            return value
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=ast.Constant(value=int() | float())):
            value = _value(node.operand)
            if isinstance(value, bool):
                raise Malformed
            return -value if isinstance(node.op, ast.USub) else value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item) for item in items]
        case ast.Dict(keys=keys, values=values):
            return {_key(key): _value(value) for key, value in zip(keys, values, strict=True)}
        case _:
            raise Malformed


def _key(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise Malformed
