"""The functions that a request declares, as parsers see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Tools = Mapping[str, Mapping[str, Any]]
"""Function name -> JSON schema of its parameters."""


def parameter_types(tools: Tools, function: str, parameter: str) -> frozenset[str]:
    """JSON types that a parameter may have; empty where the schema does not say."""
    properties = tools.get(function, {}).get("properties")
    schema = properties.get(parameter) if isinstance(properties, Mapping) else None
    return json_types(schema)


def json_types(schema: Any, depth: int = 0) -> frozenset[str]:
    """JSON types that a schema allows at most; empty where it does not say."""
    if not isinstance(schema, Mapping) or depth > 8:
        return frozenset()
    given = schema.get("type")
    if isinstance(given, str):
        return frozenset([given])
    if isinstance(given, list):
        return frozenset(one for one in given if isinstance(one, str))
    if isinstance(choices := schema.get("enum"), list) and choices:
        return frozenset(map(json_type, choices))
    for union in ("anyOf", "oneOf"):
        if isinstance(members := schema.get(union), list):
            found = [json_types(member, depth + 1) for member in members]
            return frozenset().union(*found) if all(found) else frozenset()
    return frozenset()


def json_type(value: Any) -> str:
    """JSON Schema's name for the type of a decoded value."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case Mapping():
            return "object"
        case _:
            return "array"
