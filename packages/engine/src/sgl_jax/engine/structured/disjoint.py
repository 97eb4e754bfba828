"""Whether two JSON schemas can be proven to have no value in common: what makes `oneOf` the same as `anyOf`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sgl_jax.engine.structured.subschemas import resolve

_TYPES = frozenset({"null", "boolean", "number", "string", "array", "object"})
_MAX_DEPTH = 8
_MAX_WORK = 50_000
"""Schemas and names looked at: half a second."""

_Bound = tuple[float, int]
"""A number, and how it counts among equal ones: 0 where it is itself a value, else 1 (lowest) or -1 (highest)."""


@dataclass(slots=True)
class _Facts:
    """What is known of a schema's values; all of it holds at once.

    Attributes:
        types: what they can be; integers are numbers.
        values: JSON texts of all values, when these are listed.
        low, high: the bounds of numbers.
        required: names that every object has.
        properties: name -> schemas of its value.
        closed: for each part of the schema that allows no further names, those it allows.
        choices: lists of schemas one of which holds.
    """

    types: frozenset[str] = _TYPES
    values: frozenset[str] | None = None
    low: _Bound = (-math.inf, 0)
    high: _Bound = (math.inf, 0)
    required: set[str] = field(default_factory=set)
    properties: dict[str, list[Any]] = field(default_factory=dict)
    closed: list[frozenset[str]] = field(default_factory=list)
    choices: list[list[Any]] = field(default_factory=list)


class Disjointness:
    """Compares schemas of one document.

    Args:
        root: the document.
        follows_references: whether JSON pointers mean places in `root`.
    """

    def __init__(self, root: dict[str, Any], *, follows_references: bool) -> None:
        self._root = root
        self._follows = follows_references
        self._work = 0

    def overlap(self, schemas: Sequence[Any]) -> tuple[int, int] | None:
        """The first two of several schemas that may fit the same value, by their index; None if no two can.

        Raises:
            ValueError: it takes too long.
        """
        listed = [_values(schema) if isinstance(schema, dict) else None for schema in schemas]
        values = [one for one in listed if one is not None]
        if len(values) == len(schemas) and sum(map(len, values)) == len(frozenset().union(*values)):
            return None  # only constants, however many
        for index, schema in enumerate(schemas):
            for before in range(index):
                if not self.proven(schemas[before], schema):
                    return before, index
        return None

    def proven(self, one: Any, other: Any) -> bool:
        """Whether no value fits both schemas. False where that cannot be told.

        Raises:
            ValueError: it takes too long.
        """
        return self._apart(one, other, 0)

    def _apart(self, one: Any, other: Any, depth: int) -> bool:
        if one is False or other is False:
            return True
        if depth > _MAX_DEPTH or not isinstance(one, dict) or not isinstance(other, dict):
            return False
        a, b = _Facts(), _Facts()
        self._collect(one, a, depth)
        self._collect(other, b, depth)
        if not a.types & b.types or (a.values is not None and b.values is not None and not a.values & b.values):
            return True
        types = a.types & b.types
        if types == {"number"} and (_below(a.high, b.low) or _below(b.high, a.low)):
            return True
        if types == {"object"} and self._objects_apart(a, b, depth):
            return True
        return self._none_of(a, other, depth) or self._none_of(b, one, depth)

    def _none_of(self, facts: _Facts, other: Any, depth: int) -> bool:
        """Whether all schemas of one of the choices are disjoint from another schema."""
        return any(all(self._apart(choice, other, depth + 1) for choice in choices) for choices in facts.choices)

    def _objects_apart(self, a: _Facts, b: _Facts, depth: int) -> bool:
        for name in a.required | b.required:
            if not all(name in allowed for allowed in (*a.closed, *b.closed)):
                return True
            for one in a.properties.get(name, ()):
                if any(self._apart(one, other, depth + 1) for other in b.properties.get(name, ())):
                    return True
        return False

    def _collect(self, schema: dict[str, Any], facts: _Facts, depth: int) -> None:
        """Adds what a schema says to the facts."""
        properties, required = schema.get("properties"), schema.get("required")
        self._work += 1 + len(properties or ()) + len(required or ())
        if self._work > _MAX_WORK:
            raise ValueError("it takes too long to tell the branches of 'oneOf' apart; use 'anyOf'")
        if depth > _MAX_DEPTH:
            return
        facts.types &= _types(schema)
        if (values := _values(schema)) is not None:
            facts.values = values if facts.values is None else facts.values & values
        facts.low = max([facts.low, *_bounds(schema, minimum=0, exclusiveMinimum=1)])
        facts.high = min([facts.high, *_bounds(schema, maximum=0, exclusiveMaximum=-1)])
        if isinstance(required, list):
            facts.required.update(name for name in required if isinstance(name, str))
        if isinstance(properties, dict):
            for name, inner in properties.items():
                facts.properties.setdefault(name, []).append(inner)
        if schema.get("additionalProperties") is False and not schema.get("patternProperties"):
            facts.closed.append(frozenset(properties if isinstance(properties, dict) else ()))
        for keyword in ("anyOf", "oneOf"):
            if isinstance(choices := schema.get(keyword), list):
                facts.choices.append(choices)
        parts = list(schema["allOf"]) if isinstance(schema.get("allOf"), list) else []
        if self._follows and isinstance(reference := schema.get("$ref"), str):
            parts.append(resolve(self._root, reference))
        for part in parts:
            if isinstance(part, dict):
                self._collect(part, facts, depth + 1)


def _types(schema: dict[str, Any]) -> frozenset[str]:
    declared = schema.get("type")
    names = [declared] if isinstance(declared, str) else declared if isinstance(declared, list) else _TYPES
    types = frozenset("number" if name == "integer" else name for name in names if isinstance(name, str))
    if (listed := _listed(schema)) is not None:
        types &= frozenset(map(_type, listed))
    return types


def _values(schema: dict[str, Any]) -> frozenset[str] | None:
    listed = _listed(schema)
    return None if listed is None else frozenset(map(_text, listed))


def _listed(schema: dict[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    return schema["enum"] if isinstance(schema.get("enum"), list) else None


def _text(value: Any) -> str:
    """The same for values that JSON schema calls equal, such as 1 and 1.0."""
    return json.dumps(_with_floats(value), sort_keys=True)


def _with_floats(value: Any) -> Any:
    match value:
        case dict():
            return {name: _with_floats(inner) for name, inner in value.items()}
        case list():
            return [_with_floats(inner) for inner in value]
        case bool():
            return value
        case int() | float():
            return _float(value)
        case _:
            return value


def _type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _bounds(schema: dict[str, Any], **keywords: int) -> list[_Bound]:
    found = ((schema.get(keyword), count) for keyword, count in keywords.items())
    return [
        (_float(value), count)
        for value, count in found
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]


def _below(high: _Bound, low: _Bound) -> bool:
    return high[0] < low[0] or (high[0] == low[0] and (high[1] != 0 or low[1] != 0))


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
