"""`strict: true`: objects hold the properties that their schema names, and no others."""

from __future__ import annotations

import copy
from typing import Any

from sgl_jax.engine.structured.subschemas import resolve, subschemas

_IN_PLACE = frozenset({"$ref", "allOf", "anyOf", "dependentSchemas", "else", "if", "not", "oneOf", "then"})
"""Keywords whose schemas are about the same value as the schema that holds them."""


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """A copy in which object schemas with `properties` say `additionalProperties: false`, where they say nothing.

    OpenAI refuses a strict schema without it. Adding it takes more and promises the same: what fits the copy fits the
    original. Objects that several schemas describe together are left open, for none of these names all properties.
    """
    root = copy.deepcopy(schema)
    described: dict[int, dict[str, Any]] = {}
    shared: set[int] = set()
    pending = [(root, False)]
    seen: set[tuple[int, bool]] = set()
    while pending:
        current, is_shared = pending.pop()
        if (id(current), is_shared) in seen:
            continue
        seen.add((id(current), is_shared))
        described[id(current)] = current
        if is_shared:
            shared.add(id(current))
        is_shared = is_shared or "properties" in current or len(_IN_PLACE.intersection(current)) > 1
        for inner in subschemas(current):
            alone = inner.keyword in ("anyOf", "oneOf") or (inner.keyword == "allOf" and len(current["allOf"]) == 1)
            pending.append((inner.schema, inner.keyword in _IN_PLACE and (is_shared or not alone)))
        if isinstance(current.get("$ref"), str) and (target := resolve(root, current["$ref"])) is not None:
            pending.append((target, is_shared))
    for found in described.values():
        if "properties" in found and not _IN_PLACE.intersection(found) and id(found) not in shared:
            found.setdefault("additionalProperties", False)
    return root
