"""JSON schemas: which values fit beyond doubt, and what is refused by name."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgl_jax.engine.errors import InvalidRequestError
from sgl_jax.engine.structured.json_schema import prepare

CAT = {"type": "object", "properties": {"kind": {"const": "cat"}}, "required": ["kind"]}
DOG = {"type": "object", "properties": {"kind": {"const": "dog"}}, "required": ["kind"]}


@pytest.mark.model
@pytest.mark.parametrize(
    ("schema", "yes", "no"),
    [
        ({"type": "string", "format": "date"}, ['"2024-02-29"', '"0999-12-31"'], ['"2023-02-29"', '"1900-02-29"']),
        ({"format": "date", "minLength": 1}, ['"2000-02-29"', "5"], ['"0000-01-01"', '"2024-04-31"']),
        ({"type": "string", "format": "time"}, ['"23:59:59Z"', '"01:02:03.5+01:00"'], ['"23:59:60Z"', '"24:00:00Z"']),
        ({"format": "date-time", "allOf": [{"pattern": "^2"}]}, ['"2024-01-01T00:00:00Z"'], ['"1999-01-01T00:00:00Z"']),
        ({"type": "string", "format": "json-pointer"}, ['""', '"/a~0b/"'], ['"a"', '"/~2"']),
        ({"type": "string", "format": "iri"}, ['"http://a.b/c"'], ['"a b"']),
        ({"type": "string", "format": "password"}, ['"anything"'], ["5"]),
        ({"type": "integer", "format": "int64"}, ["5"], ['"5"']),
        ({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}, ["-5", "123456789012345678"], ["1.5"]),
        ({"type": "integer", "maximum": 2**53 + 3}, [str(2**53)], [str(2**53 + 4), str(2**53 + 3)]),
        ({"type": "integer", "minimum": 2**53 + 1}, [str(2**53 + 2)], [str(2**53), str(2**53 - 1)]),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, ['{"b": "x"}'], [r'{"\u0061": "x"}']),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}, ["0.5", "0.00001"], ["0", "0.0", "-0"]),
        ({"type": "number", "minimum": -1.5, "exclusiveMaximum": -1}, ["-1.5", "-1.001"], ["-1", "-1.0"]),
        ({"exclusiveMinimum": True, "minimum": 1, "maximum": 1.5}, ["1.25", "null"], ["1", "1.0"]),
        ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 3}, ["1", "2"], ["0", "3"]),
        ({"multipleOf": 0.25, "items": {"multipleOf": 10**6}}, ["0.75", "[2000000]", "true"], ["0.3", "[200000]"]),
        ({"type": "string", "pattern": '^[^"\\\\]+$'}, ['"a\\n"'], [r'"a\""', r'"\\\\"']),
        ({"type": "string", "pattern": r'^[a\[^]\[[^"]$'}, ['"^[x"'], [r'"a[\""']),
        ({"type": "object", "minProperties": 1}, ['{"a": 1}'], ["{}"]),
        (
            {"uniqueItems": False, "then": {}, "unevaluatedItems": {}, "propertyNames": True, "type": "null"},
            ["null"],
            [],
        ),
        ({"type": "object", "unevaluatedProperties": False, "properties": {"a": {}}}, ['{"a": 1}', "{}"], ['{"b": 1}']),
        (
            {"type": "object", "propertyNames": {"enum": ["a.b", "c"]}, "additionalProperties": {"type": "integer"}},
            ["{}", '{"a.b": 1, "c": 2}'],
            ['{"aXb": 1}', '{"c": "x"}'],
        ),
        ({"type": "object", "propertyNames": {"pattern": "^x"}}, ['{"xy": [1]}'], ['{"yx": 1}']),
        ({"oneOf": [CAT, DOG]}, ['{"kind": "dog"}'], ['{"kind": "cow"}']),
        ({"oneOf": [{"$ref": "#/$defs/a"}, {"type": "null"}], "$defs": {"a": CAT}}, ["null", '{"kind": "cat"}'], ["1"]),
        ({"$ref": "#/components/schemas/a", "components": {"schemas": {"a": {"format": "date"}}}}, ["1"], ['"x"']),
        (
            {"$defs": {"a": {"items": {"$ref": "#/$defs/a"}, "type": "array"}}, "$ref": "#/$defs/a"},
            ["[[], [[]]]"],
            ["[1]"],
        ),
        (True, ["1", '{"a": null}'], ["x"]),
        ({"x-guidance": {"lenient": True}, "type": "string", "title": "x", "examples": [1]}, ['"a"'], ["1"]),
    ],
)
def test_what_fits(fits, schema, yes, no):
    text = json.dumps(schema)
    assert {answer: fits("json_schema", text, answer) for answer in (*yes, *no)} == {
        **dict.fromkeys(yes, True),
        **dict.fromkeys(no, False),
    }


REFUSED = [
    ({"items": {"uniqueItems": True}}, "'uniqueItems' at #/items"),
    ({"properties": {"a/b": {"if": {}, "then": {}}}}, "'if', 'then' at #/properties/a~1b"),
    ({"type": "object", "propertyNames": {"minLength": 2}}, "'propertyNames' at #"),
    ({"anyOf": [{"not": {}}]}, "'not' at #/anyOf/0"),
    ({"dependentRequired": {"a": ["b"]}}, "'dependentRequired'"),
    ({"unevaluatedProperties": False, "allOf": [CAT]}, "'unevaluatedProperties'"),
    ({"$dynamicRef": "#node"}, "'$dynamicRef'"),
    ({"format": "uri-template"}, "'format' at # is 'uri-template'"),
    ({"const": 2**53 + 1}, "'const' at #"),
    ({"enum": ["a", {"b": ["\x01"]}]}, "'enum' at # holds a control character"),
    ({"properties": {"\x7f": {}}}, "'properties' at # holds a control character"),
    ({"multipleOf": 99_999_999}, "'multipleOf' at # is 99999999"),
    ({"multipleOf": 997, "allOf": [{"multipleOf": 991}]}, "'multipleOf' at #/allOf/0 is 991"),
    ({"minimum": 10**18}, "'minimum'"),
    ({"exclusiveMaximum": -(10**18)}, "'exclusiveMaximum'"),
    ({"type": "object", "minProperties": 2}, "'minProperties'"),
    ({"type": "object", "minProperties": 3, "required": ["a"]}, "'minProperties'"),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "branches 0 and 1"),
    ({"oneOf": [CAT, DOG, CAT]}, "branches 0 and 2"),
    ({"type": "string", "pattern": r"(a)\1"}, "'pattern'"),
    ({"type": "string", "pattern": "(?=a)"}, "'pattern'"),
    ({"type": "string", "pattern": r"\ba"}, "'pattern'"),
    ({"$ref": "#/$defs/none"}, "/\\$defs/none"),
    ({"type": "string", "minLength": 2, "maxLength": 1}, "minLength"),
    ({"properties": []}, "'properties' at # must be an object"),
    ({"items": {"allOf": {}}}, "'allOf' at #/items must be a list"),
    ({"minimum": "1", "exclusiveMinimum": 0}, "'minimum' at # must be a number"),
]


@pytest.mark.model
@pytest.mark.parametrize(("schema", "says"), REFUSED)
def test_a_refusal_names_the_keyword(compiled, schema, says):
    with pytest.raises(InvalidRequestError, match=says.replace("$d", r"\$d") if says.startswith("'$") else says):
        compiled("json_schema", json.dumps(schema))


@pytest.mark.model
@pytest.mark.parametrize("schema", [schema for schema, says in REFUSED[:18]])
def test_lenient_passes_over_it(compiled, schema):
    compiled("json_schema", json.dumps(schema), lenient=True)


@pytest.mark.model
def test_lenient_keeps_to_the_rest(fits):
    text = json.dumps({"type": "array", "uniqueItems": True, "items": {"type": "integer", "format": "odd"}})
    assert fits("json_schema", text, "[1, 1]", lenient=True)
    assert not fits("json_schema", text, '["1"]', lenient=True)


@pytest.mark.parametrize("text", ["NaN", '{"minimum": Infinity}', '{"a": 1', ""])
@pytest.mark.model
def test_only_json_is_read(compiled, text):
    with pytest.raises(InvalidRequestError, match="JSON"):
        compiled("json_schema", text)


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
KEYWORDS = st.sampled_from(
    [
        *(
            "$defs",
            "$id",
            "$ref",
            "additionalProperties",
            "allOf",
            "anyOf",
            "const",
            "contains",
            "enum",
            "format",
            "if",
        ),
        *("exclusiveMaximum", "items", "maximum", "minProperties", "minimum", "not", "oneOf", "pattern", "prefixItems"),
        *(
            "patternProperties",
            "properties",
            "propertyNames",
            "required",
            "type",
            "unevaluatedProperties",
            "uniqueItems",
        ),
    ]
)
ANYTHING = st.recursive(
    VALUES | st.sampled_from(["#", "#/items", "#/$defs/a", "date", "object", "integer"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS | st.just("a"), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(schema=st.dictionaries(KEYWORDS, ANYTHING, max_size=5), lenient=st.booleans())
def test_nonsense_is_refused_or_left_to_the_compiler(schema, lenient):
    with contextlib.suppress(ValueError):
        prepare(schema, lenient=lenient)
