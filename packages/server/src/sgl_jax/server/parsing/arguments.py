"""A call's arguments as nodes of a structural tag, spelled as a family of models spells them.

Nodes are those of `engine.structured.tag_tree`, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from sgl_jax.engine.structured.formats import PATTERNS
from sgl_jax.server.parsing.tools.declared import json_types

Node = dict[str, Any]
Schema = dict[str, Any]

_NO_ARGUMENTS: Schema = {"type": "object", "properties": {}, "additionalProperties": False}
_MEANINGLESS = frozenset({"$comment", "default", "deprecated", "description", "examples", "title", "type"})
_LISTABLE = _MEANINGLESS | {"$defs", "$schema", "additionalProperties", "definitions", "properties", "required"}
_MAX_LENGTH = 2**16


class UnspeakableError(Exception):
    """A schema has no spelling in a format; the message names the keyword."""


def const(text: str) -> Node:
    """Exactly this text."""
    return {"type": "const_string", "value": text}


def sequence(parts: Sequence[Node]) -> Node:
    """Parts one after another; nothing for none."""
    return {"type": "sequence", "elements": list(parts)} if parts else const("")


def one_of(parts: Sequence[Node]) -> Node:
    """One of several parts."""
    return parts[0] if len(parts) == 1 else {"type": "or", "elements": list(parts)}


def json_object(schema: Schema | None, lenient: bool) -> Node:
    """The arguments as a JSON object."""
    return {"type": "json_schema", "json_schema": {**(schema or _NO_ARGUMENTS), "type": "object"}, "lenient": lenient}


def tagged(open_key: str, close_key: str, lead: str, mark: str) -> Callable[[Schema | None, bool], Node]:
    """Each argument on lines of its own: `open_key`, its name, `close_key`, its value, `lead`, `mark`.

    A text value is any text up to the first `mark`, a `lead` before that included: so the parsers read it.
    """

    def spell(schema: Schema | None, lenient: bool) -> Node:
        parts = []
        for name, value, required in _properties(schema or _NO_ARGUMENTS):
            spelled = _value(value, name, lead, mark, lenient)
            argument = sequence([const(f"{open_key}{name}{close_key}"), *spelled, const("\n")])
            parts.append(argument if required else {"type": "optional", "content": argument})
        return sequence(parts)

    return spell


def keywords(schema: Schema | None, lenient: bool) -> Node:
    """`name=value` for each argument, values as JSON, with commas between: what Python calls look like."""
    arguments = [
        (sequence([const(f"{name}="), _json(value, lenient)]), required)
        for name, value, required in _properties(schema or _NO_ARGUMENTS)
    ]

    def following(index: int) -> Node:
        rest = [sequence([const(", "), argument]) for argument, _ in arguments[index:]]
        needed = [required for _, required in arguments[index:]]
        return sequence(
            [part if one else {"type": "optional", "content": part} for part, one in zip(rest, needed, strict=True)]
        )

    # Which argument comes first decides where commas stand.
    ways: list[Node] = []
    for index, (argument, required) in enumerate(arguments):
        ways.append(sequence([argument, following(index + 1)]))
        if required:
            return one_of(ways)
    return one_of([*ways, const("")])


def _properties(schema: Schema) -> list[tuple[str, Schema, bool]]:
    """Each property of an object schema: its name, its schema on its own, and whether it is required.

    Raises:
        UnspeakableError: the schema says more than a list of properties.
    """
    for keyword in schema:
        if keyword not in _LISTABLE:
            raise UnspeakableError(
                f"{keyword!r} beside 'properties' cannot be kept to in this model's tool call format"
            )
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        raise UnspeakableError("'properties' must be an object and 'required' a list")
    for name, value in properties.items():
        if not isinstance(value, dict | bool):
            raise UnspeakableError(f"'properties' holds no schema under {name!r}")
    for name in required:
        if not isinstance(name, str) or not properties.get(name, False):
            raise UnspeakableError(f"'required' names {name!r}, which is not among the 'properties'")
    shared: Schema = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    return [
        (name, {**({} if value is True else value), **shared}, name in required)
        for name, value in properties.items()
        if value is not False
    ]


def _json(schema: Schema, lenient: bool) -> Node:
    return {"type": "json_schema", "json_schema": schema, "lenient": lenient}


def _value(schema: Schema, name: str, lead: str, mark: str, lenient: bool) -> list[Node]:
    """A value and what ends it: what the parsers know to be a string as it is, anything else as JSON."""
    end = lead + mark
    if json_types(schema) != {"string"}:
        return [_json(schema, lenient), const(end)]
    listed = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(listed, list):
        texts = [const(text) for text in listed if isinstance(text, str) and mark not in text]
        return [one_of(texts or [const("")]), const(end)]
    says = schema.keys() - _MEANINGLESS - {"$defs", "definitions"}
    if not says or lenient:
        return [{"type": "tag", "begin": "", "content": {"type": "any_text"}, "end": mark}]
    if says == {"format"} and isinstance(schema["format"], str) and schema["format"] in PATTERNS:
        return [{"type": "regex", "pattern": PATTERNS[schema["format"]][1:-1]}, const(end)]
    if says <= {"minLength", "maxLength"}:
        fewest, most = schema.get("minLength", 0), schema.get("maxLength", "")
        if all(one == "" or (isinstance(one, int) and 0 <= one <= _MAX_LENGTH) for one in (fewest, most)):
            return [{"type": "regex", "pattern": f"[^<]{{{fewest},{most}}}"}, const(end)]
    if says == {"anyOf"}:  # each of them a string, or this would not be one
        return [one_of([sequence(_value(choice, name, lead, mark, lenient)) for choice in schema["anyOf"]])]
    keyword = min(says)
    raise UnspeakableError(f"{keyword!r} of the text {name!r} cannot be kept to in this model's tool call format")


def quoted(text: str) -> str:
    """A JSON string."""
    return json.dumps(text, ensure_ascii=False)
