"""Makes a JSON schema one that llguidance keeps to exactly, or says which keyword stands in the way.

The library takes most of the standard, refuses some of it by itself, and in a few places allows values that the schema
does not. Here these places are rewritten, always to what fits the schema too, or refused. Where each rule comes from:

- bounds are 64-bit floats to the library, and its integer ranges end at 18 digits;
- a bound that is excluded is allowed after all where it is whole and the other bound less than 1 away;
- a pattern's `[^"]` allows a quotation mark, unless it excludes some control character too;
- an object's further properties may repeat a name, so that fewer remain than were counted;
- `oneOf` is read as `anyOf`: right only if no two branches have a value in common;
- a `multipleOf` takes time and memory by the number of its remainders;
- names of formats that nobody defined are errors to it, and mean nothing to the standard.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from sgl_jax.engine.structured import formats
from sgl_jax.engine.structured.disjoint import Disjointness
from sgl_jax.engine.structured.multiples import MOST_REMAINDERS, Multiples
from sgl_jax.engine.structured.subschemas import resolve, subschemas

_UNSUPPORTED = (
    "$dynamicRef",
    "$recursiveRef",
    "contains",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "maxContains",
    "minContains",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
)
_MEANINGLESS_WITHOUT = {"if": ("then", "else"), "contains": ("minContains", "maxContains")}
_APPLIED = frozenset({"$ref", "additionalProperties", "allOf", "anyOf", "dependentSchemas", "if", "oneOf"})
_WITHOUT_EFFECT: tuple[tuple[str, Any], ...] = (
    ("uniqueItems", False),
    ("unevaluatedItems", True),
    ("unevaluatedItems", {}),
    ("unevaluatedProperties", True),
    ("unevaluatedProperties", {}),
    ("propertyNames", True),
    ("propertyNames", {}),
    ("propertyNames", {"type": "string"}),
)
_SHAPES: tuple[tuple[tuple[type, ...], str, tuple[str, ...]], ...] = (
    ((dict,), "an object", ("$defs", "definitions", "patternProperties", "properties")),
    ((list,), "a list", ("allOf", "anyOf", "enum", "oneOf", "prefixItems", "required")),
    ((str,), "a string", ("$ref", "format", "pattern")),
    ((int, float), "a number", ("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum")),
)
_OPTIONS: dict[str, Any] = {
    # Whitespace as models like to write it, but no endless run of it: at high temperature those never close.
    "whitespace_pattern": r"[\x20\x0A\x0D\x09]{1,16}",
    "coerce_one_of": True,  # the rule below has looked at each
    # Without `\u`: by it, a further property could repeat the name of a declared one.
    "json_allowed_escapes": 'nrbtf\\"',
}
_UNWRITABLE = re.compile(r"[\x00-\x07\x0b\x0e-\x1f\x7f]")
"""Characters that have no place in a JSON string but by `\\u`."""
_CLASS = re.compile(r"\\.|\[\^\]?|\[(?:\\.|[^\]])*", re.DOTALL)
"""An escaped character, the beginning of a negated class, or a class up to its end."""
_LARGEST_MOVED = 1e11
_HIGHEST = 999_999_999_999_999_872
"""The highest 64-bit float of 18 digits."""


class _Place(NamedTuple):
    """A schema of the document that is being prepared; rules change it in place."""

    schema: dict[str, Any]
    path: str
    disjointness: Disjointness
    multiples: Multiples


def prepare(schema: Any, *, lenient: bool = False) -> str:
    """JSON text of the schema in the form that is compiled, options included.

    Args:
        schema: a decoded document of its own; it is changed.
        lenient: pass over what cannot be kept to, instead of refusing it.

    Raises:
        ValueError: it cannot be kept to; the message names the keyword and where it stands.
    """
    if schema is True:
        schema = {}
    if not isinstance(schema, dict):
        raise ValueError("a JSON schema must be an object")
    schema.pop("x-guidance", None)  # the library's options are ours to set
    disjointness = Disjointness(schema, follows_references=not _has_inner_ids(schema))
    multiples = Multiples()
    places = [_Place(found, path, disjointness, multiples) for path, found in _all_schemas(schema)]
    for place in places:
        for rule in _RULES:
            try:
                rule(place)
            except ValueError:
                if not lenient:
                    raise
    return json.dumps({**schema, "x-guidance": {**_OPTIONS, "lenient": lenient}})


def _all_schemas(root: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """All schemas of a document, with where they stand. Raises `ValueError` for one that is no schema by its form."""
    found: list[tuple[str, dict[str, Any]]] = [("#", root)]
    seen = {id(root)}
    for path, schema in found:
        for types, expected, keywords in _SHAPES:
            for keyword in keywords:
                if keyword in schema and not isinstance(schema[keyword], types):
                    raise ValueError(f"{keyword!r} at {path} must be {expected}")
        inner = [(path + one.path, one.schema) for one in subschemas(schema)]
        if "$ref" in schema and (target := resolve(root, schema["$ref"])) is not None:
            inner.append((schema["$ref"], target))  # it may lie under a keyword that is none of the standard's
        for one in inner:
            if id(one[1]) not in seen:
                seen.add(id(one[1]))
                found.append(one)
    return found


def _has_inner_ids(schema: dict[str, Any]) -> bool:
    """Whether some inner schema is a document of its own, so that pointers may not be about the whole."""
    return '"$id"' in json.dumps({key: value for key, value in schema.items() if key != "$id"})


def _unsupported(place: _Place) -> None:
    schema = place.schema
    for keyword, value in _WITHOUT_EFFECT:
        if keyword in schema and schema[keyword] == value and type(schema[keyword]) is type(value):
            del schema[keyword]
    if schema.get("unevaluatedProperties") is False and not _APPLIED.intersection(schema):
        del schema["unevaluatedProperties"]
        schema["additionalProperties"] = False  # nothing else there could evaluate a property
    for keyword, others in _MEANINGLESS_WITHOUT.items():
        if keyword not in schema:
            for other in others:
                schema.pop(other, None)
    found = [keyword for keyword in _UNSUPPORTED if keyword in schema]
    for keyword in found:
        del schema[keyword]
    if found:
        names = ", ".join(map(repr, found))
        raise ValueError(f"{names} at {place.path} is not supported")


def _property_names(place: _Place) -> None:
    """Names by a pattern or a list, with one schema for all values: the same as `patternProperties`."""
    schema = place.schema
    names = schema.get("propertyNames")
    if not isinstance(names, dict) or any(schema.get(one) for one in ("properties", "patternProperties", "required")):
        return
    kinds = names.keys() - {"type", "title", "description"}
    if names.get("type", "string") != "string" or len(kinds) != 1:
        return
    pattern = names.get("pattern")
    listed = [names["const"]] if "const" in names else names.get("enum")
    if isinstance(listed, list) and all(isinstance(name, str) for name in listed):
        pattern = f"^(?:{'|'.join(map(re.escape, listed))})$"
    if isinstance(pattern, str):
        del schema["propertyNames"]
        schema["patternProperties"] = {pattern: schema.get("additionalProperties", {})}
        schema["additionalProperties"] = False


def _constants(place: _Place) -> None:
    for keyword in ("const", "enum"):
        if keyword in place.schema:
            _check_constant(place.schema[keyword], f"{keyword!r} at {place.path}")
    for name in place.schema.get("properties", ()):
        _check_constant(name, f"'properties' at {place.path}")


def _check_constant(value: Any, where: str) -> None:
    match value:
        case dict():
            for name, inner in value.items():
                _check_constant(name, where)
                _check_constant(inner, where)
        case list():
            for inner in value:
                _check_constant(inner, where)
        case str() if _UNWRITABLE.search(value):
            raise ValueError(f"{where} holds a control character, which is not supported")
        case int() if abs(value) > _HIGHEST or int(float(value)) != value:
            raise ValueError(f"{where} holds {value}, which 64-bit floats cannot hold exactly")
        case float() if not math.isfinite(value):
            raise ValueError(f"{where} holds a number that 64-bit floats cannot hold")


def _bounds(place: _Place) -> None:
    schema = place.schema
    for inclusive, exclusive, direction in (("minimum", "exclusiveMinimum", 1), ("maximum", "exclusiveMaximum", -1)):
        if isinstance(schema.get(exclusive), bool):  # as it was until the fourth draft
            excluded = schema.pop(exclusive)
            if excluded and inclusive in schema:
                schema[exclusive] = schema.pop(inclusive)
        for keyword in (inclusive, exclusive):
            if isinstance(schema.get(keyword), int | float):
                _tighten(schema, keyword, direction, place.path)
        bound = schema.get(exclusive)
        if isinstance(bound, int | float) and bound == int(bound) and 0 <= bound * direction < _LARGEST_MOVED:
            nearest = float(schema.pop(exclusive)) + direction * max(1e-9, abs(bound) * 1e-12)
            given = schema.get(inclusive, nearest)
            schema[inclusive] = max(given, nearest) if direction > 0 else min(given, nearest)


def _tighten(schema: dict[str, Any], keyword: str, direction: int, path: str) -> None:
    """Makes a bound one that the library takes and keeps to.

    Args:
        direction: 1 for a lower bound, -1 for an upper one.
    """
    bound = schema[keyword]
    if bound * direction > _HIGHEST:
        del schema[keyword]
        raise ValueError(f"{keyword!r} at {path} is {bound}; it must lie within 18 digits")
    if bound * direction < -_HIGHEST:
        schema[keyword] = -direction * _HIGHEST
    elif isinstance(bound, int) and (int(float(bound)) - bound) * direction < 0:  # the nearest float is outside
        schema[keyword] = math.nextafter(float(bound), direction * math.inf)


def _multiple_of(place: _Place) -> None:
    divisor = place.schema.get("multipleOf")
    if isinstance(divisor, bool) or not isinstance(divisor, int | float) or place.multiples.allows(divisor):
        return
    del place.schema["multipleOf"]
    raise ValueError(
        f"'multipleOf' at {place.path} is {divisor}; without zeros at the end, all of a schema together may have a sum "
        f"and a least common multiple of {MOST_REMAINDERS}"
    )


def _patterns(place: _Place) -> None:
    schema = place.schema
    if "pattern" in schema:
        schema["pattern"] = _without_null(schema["pattern"])
    if "patternProperties" in schema:
        schema["patternProperties"] = {
            _without_null(pattern): inner for pattern, inner in schema["patternProperties"].items()
        }


def _without_null(pattern: str) -> str:
    """Takes the null character, which no answer can hold, from the negated classes of a regular expression."""
    return _CLASS.sub(lambda found: found[0] + r"\x00" if found[0].startswith("[^") else found[0], pattern)


def _format(place: _Place) -> None:
    schema = place.schema
    name = schema.get("format")
    if name is None or name in formats.KEPT:
        return
    if name in formats.UNSUPPORTED:
        raise ValueError(f"'format' at {place.path} is {name!r}, which is not supported")
    del schema["format"]
    if name in formats.NARROWER:
        schema["format"] = formats.NARROWER[name]
    elif name in formats.PATTERNS:
        schema["allOf"] = [*schema.get("allOf", ()), {"pattern": formats.PATTERNS[name]}]


def _property_counts(place: _Place) -> None:
    schema = place.schema
    fewest = schema.get("minProperties")
    if not isinstance(fewest, int):
        return
    if schema.get("additionalProperties") is False and not schema.get("patternProperties"):
        return
    certain = len(set(map(str, schema.get("required", ()))))
    if fewest > certain + 1:
        raise ValueError(
            f"'minProperties' at {place.path} is {fewest}; without a closed list of 'properties' it can be kept to up "
            f"to {certain + 1}, one more than there are 'required' ones"
        )


def _one_of(place: _Place) -> None:
    overlap = place.disjointness.overlap(place.schema.get("oneOf", []))
    if overlap is not None:
        first, second = overlap
        raise ValueError(
            f"'oneOf' at {place.path} is supported only where no two branches fit the same value, by type, 'const', "
            f"'enum' or a required property that tells them apart; branches {first} and {second} may: use 'anyOf'"
        )


_RULES: tuple[Callable[[_Place], None], ...] = (
    _property_names,
    _unsupported,
    _constants,
    _bounds,
    _multiple_of,
    _format,
    _patterns,
    _property_counts,
    _one_of,
)
