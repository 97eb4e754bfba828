"""How long a text, or a list, an operation of a template may make, known before it is made."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from sgl_jax.engine.text.template_budget import CHARACTERS_PER_STEP, Budget, expect, too_long

FORBIDDEN_METHODS = frozenset({"encode", "expandtabs", "from_bytes", "maketrans", "to_bytes", "translate"})
"""Python's methods that make much out of little and that no chat template needs."""

_PICKING = frozenset({"attr", "count", "d", "default", "first", "items", "last", "length", "list", "random", "reverse"})
_MAPPING = frozenset({"batch", "map", "reject", "rejectattr", "select", "selectattr", "slice"})
SHALLOW_FILTERS = _PICKING | _MAPPING
"""They look at a container but not into it; what they do with each item is paid for item by item."""
ITEM_FILTERS = frozenset({"dictsort", "groupby", "join", "max", "min", "sort", "sum", "unique"})
"""They do some work for each item, which for a text is each character."""
SLOW_FILTERS = {"pprint": 64, "striptags": 64, "urlize": 64, "wordwrap": 64, "xmlattr": 8}
"""How many times as dear as others they are."""

_MOST_INDENT = 64
_LARGEST_COUNT = 100_000

Arguments = Sequence[Any]


def check_filter(name: str, budget: Budget, value: Any, arguments: Arguments, options: dict[str, Any]) -> None:
    """Pays for a filter's work, and refuses one that would make too much.

    Raises:
        SecurityError: too long, or the budget is used up.
    """
    everything = (*arguments, *options.values())
    if name in _COUNTED and any(isinstance(item, int) and item > _LARGEST_COUNT for item in everything):
        raise too_long()
    if name in SHALLOW_FILTERS:
        budget.look(value)
        budget.weigh(*everything)
        return
    if name in ITEM_FILTERS and hasattr(value, "__len__"):
        budget.spend(len(value))
    weight = budget.weigh(value, *everything)
    budget.spend(weight.characters // CHARACTERS_PER_STEP * (SLOW_FILTERS.get(name, 1) - 1))
    if name == "tojson" and (indent := options.get("indent", arguments[1] if len(arguments) > 1 else None)):
        width = len(indent) if isinstance(indent, str) else int(indent)
        if width > _MOST_INDENT:
            raise too_long()
        expect(weight.lines * width * weight.depth)
    grow = _FILTER_GROWTH.get(name)
    if grow is not None:
        expect(grow(value, everything))


def check_method(name: str, budget: Budget, owner: Any, arguments: Arguments, options: dict[str, Any]) -> None:
    """The same for a method of a built-in type."""
    everything = (*arguments, *options.values())
    if isinstance(owner, str):
        budget.look(owner)
        if name in ("split", "rsplit", "splitlines"):
            budget.spend(len(owner) // 16)  # a list of words is many times its text
        if name in ("ljust", "rjust", "center", "zfill"):
            expect(max((item for item in everything if isinstance(item, int)), default=0))
    else:
        budget.weigh(owner) if name in ("index", "count") else budget.look(owner)
    budget.weigh(*everything)
    grow = _METHOD_GROWTH.get(name)
    if grow is not None and isinstance(owner, str):
        expect(grow(owner, everything))


def formatted(layout: Any, values: Arguments) -> int:
    """Upper bound of what `%`, `format` and the filter of that name make."""
    text = str(layout)
    widths = sum(int(digits[:12]) for digits in re.findall(r"\d+", text))
    fields = text.count("%") + text.count("{")
    if "*" in text or re.search(r"\{[^{}]*\{", text):  # a width that is itself a value
        widths += fields * max((abs(value) for value in values if isinstance(value, int)), default=0)
    return len(text) + widths + fields * Budget().weigh(*values).characters


def _replaced(text: Any, arguments: Arguments) -> int:
    old, new = (str(item) for item in (*arguments, "", "")[:2])
    places = len(str(text)) // len(old) if old else len(str(text)) + 1
    return len(str(text)) + places * len(new)


def _joined(separator: Any, arguments: Arguments) -> int:
    items = arguments[0] if arguments else ()
    return len(items) * len(str(separator)) if hasattr(items, "__len__") else 0


def _indented(text: Any, arguments: Arguments) -> int:
    width = next((item if isinstance(item, int) else len(str(item)) for item in arguments if item is not None), 4)
    return len(str(text)) + (str(text).count("\n") + 1) * width


_COUNTED = frozenset({"batch", "center", "indent", "round", "slice", "truncate", "wordwrap"})
"""Filters with a number that says how much they make."""
_FILTER_GROWTH: dict[str, Callable[[Any, Arguments], int]] = {
    "format": formatted,
    "indent": _indented,
    "join": lambda items, arguments: _joined(arguments[0] if arguments else "", (items,)),
    "replace": _replaced,
}
_METHOD_GROWTH: dict[str, Callable[[Any, Arguments], int]] = {
    "format": formatted,
    "format_map": formatted,
    "join": _joined,
    "replace": _replaced,
}
