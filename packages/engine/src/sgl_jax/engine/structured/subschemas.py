"""Where JSON schemas hold further schemas, and how references find them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

_ONE = (
    "additionalItems",
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
)
_LISTED = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_NAMED = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")


class Subschema(NamedTuple):
    """A schema inside a schema.

    Attributes:
        keyword: under which the parent holds it.
        key: its index or name there; None where the keyword holds one schema.
        schema: an object, unless the whole is malformed; `true` and `false` are left out.
    """

    keyword: str
    key: str | int | None
    schema: Any

    @property
    def path(self) -> str:
        """What its JSON pointer has more than the parent's."""
        return f"/{self.keyword}" if self.key is None else f"/{self.keyword}/{escaped(str(self.key))}"


def subschemas(schema: dict[str, Any]) -> Iterator[Subschema]:
    """The schemas right inside a schema. What is no schema by its form is left to the compiler to complain about."""
    for keyword in _ONE:
        if isinstance(inner := schema.get(keyword), dict):
            yield Subschema(keyword, None, inner)
    for keyword in _LISTED:
        if isinstance(listed := schema.get(keyword), list):
            yield from (Subschema(keyword, key, inner) for key, inner in enumerate(listed) if isinstance(inner, dict))
    for keyword in _NAMED:
        if isinstance(named := schema.get(keyword), dict):
            yield from (Subschema(keyword, key, inner) for key, inner in named.items() if isinstance(inner, dict))


def resolve(root: dict[str, Any], reference: str) -> dict[str, Any] | None:
    """The schema object that a reference within a document points at, or None.

    Args:
        reference: a JSON pointer as a URI fragment (`#/$defs/node`); other forms are not followed.
    """
    found: Any = root
    if reference != "#" and not reference.startswith("#/"):
        return None
    for part in reference.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = found.get(key)
        elif isinstance(found, list) and key.isascii() and key.isdigit() and len(key) < 8 and int(key) < len(found):
            found = found[int(key)]
        else:
            return None
    return found if isinstance(found, dict) else None


def escaped(key: str) -> str:
    """A name as a part of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")
