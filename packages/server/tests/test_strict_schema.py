"""Which objects `strict: true` closes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sgl_jax.server.strict_schema import closed

OPEN: dict[str, Any] = {"type": "object", "properties": {"a": {}}}
SHUT = {**OPEN, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (OPEN, SHUT),
        ({**OPEN, "additionalProperties": True}, {**OPEN, "additionalProperties": True}),
        ({**OPEN, "additionalProperties": OPEN}, {**OPEN, "additionalProperties": SHUT}),
        ({"type": "object"}, {"type": "object"}),
        ({"items": OPEN}, {"items": SHUT}),
        ({"anyOf": [OPEN, {"type": "null"}]}, {"anyOf": [SHUT, {"type": "null"}]}),
        ({"$ref": "#/$defs/a", "$defs": {"a": OPEN}}, {"$ref": "#/$defs/a", "$defs": {"a": SHUT}}),
        (
            {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": OPEN}},
            {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": SHUT}},
        ),
        ({"allOf": [OPEN, {"properties": {"b": OPEN}}]}, {"allOf": [OPEN, {"properties": {"b": SHUT}}]}),
        ({**OPEN, "anyOf": [{"properties": {"b": {}}}]}, {**OPEN, "anyOf": [{"properties": {"b": {}}}]}),
        ({**OPEN, "$ref": "#/$defs/a", "$defs": {"a": OPEN}}, {**OPEN, "$ref": "#/$defs/a", "$defs": {"a": OPEN}}),
        (
            {"$defs": {"n": {"properties": {"next": {"$ref": "#/$defs/n"}}}}, "$ref": "#/$defs/n"},
            {
                "$defs": {"n": {"properties": {"next": {"$ref": "#/$defs/n"}}, "additionalProperties": False}},
                "$ref": "#/$defs/n",
            },
        ),
        ({"properties": "nonsense", "allOf": 5}, {"properties": "nonsense", "allOf": 5}),
    ],
)
def test_closed(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    schema = json.loads(json.dumps(schema))  # so that no part occurs twice
    before = repr(schema)
    assert closed(schema) == expected
    assert repr(schema) == before
