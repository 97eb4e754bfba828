"""Which schemas are known to share no value."""

from __future__ import annotations

import itertools

import pytest

from sgl_jax.engine.structured.disjoint import Disjointness

ROOT = {
    "$defs": {
        "cat": {"type": "object", "properties": {"kind": {"const": "cat"}}, "required": ["kind"]},
        "dog": {"type": "object", "properties": {"kind": {"enum": ["dog", "puppy"]}}, "required": ["kind"]},
        "loop": {"$ref": "#/$defs/loop"},
    }
}


def ref(name):
    return {"$ref": f"#/$defs/{name}"}


def closed(*names):
    return {"type": "object", "properties": {name: {} for name in names}, "additionalProperties": False}


def needs(*names):
    return {"type": "object", "required": list(names)}


APART = [
    ({"type": "string"}, {"type": "integer"}),
    ({"type": ["string", "null"]}, {"type": ["boolean", "array"]}),
    ({"const": 1}, {"const": 2}),
    ({"const": "a"}, {"enum": ["b", "c"]}),
    ({"const": None}, {"type": "string"}),
    ({"const": True}, {"const": 1}),
    ({"type": "integer", "maximum": 3}, {"type": "number", "minimum": 4}),
    ({"type": "integer", "maximum": -(10**400)}, {"type": "number", "minimum": 10**400}),
    ({"type": "number", "exclusiveMaximum": 0}, {"type": "number", "minimum": 0}),
    (ref("cat"), ref("dog")),
    (ref("cat"), {"allOf": [ref("dog"), {"properties": {"age": {}}}]}),
    (ref("cat"), {"type": "null"}),
    (ref("cat"), {"anyOf": [{"type": "null"}, ref("dog")]}),
    ({"oneOf": [{"const": 1}, {"const": 2}]}, {"enum": [3, 4]}),
    (closed("a"), needs("b")),
    ({**closed("a", "b"), "required": ["a", "b"]}, {**closed("a", "c"), "required": ["a", "c"]}),
    (False, {}),
]
TOGETHER = [
    ({}, {}),
    (True, {"type": "null"}),
    ({"type": "integer"}, {"type": "number"}),
    ({"const": 1}, {"const": 1.0}),
    ({"const": [1]}, {"const": [1.0]}),
    ({"const": {"a": 1, "b": 2}}, {"const": {"b": 2, "a": 1}}),
    ({"type": "number", "maximum": 0}, {"type": "number", "minimum": 0}),
    ({"type": ["number", "null"], "maximum": 0}, {"type": ["number", "null"], "minimum": 1}),
    ({"properties": {"kind": {"const": 1}}, "required": ["kind"]}, {"properties": {"kind": {"const": 2}}}),
    ({"type": "object", "properties": {"a": {"const": 1}}}, {"type": "object", "properties": {"a": {"const": 2}}}),
    (closed("a"), closed("b")),
    ({**closed("a"), "patternProperties": {"b": {}}}, needs("b")),
    (ref("cat"), {"anyOf": [{"type": "string"}, {"type": "object"}]}),
    (ref("loop"), ref("cat")),
    (ref("none"), {"type": "string"}),
]


@pytest.mark.parametrize(("pairs", "expected"), [(APART, True), (TOGETHER, False)])
def test_pairs(pairs, expected):
    for one, other in [*pairs, *((other, one) for one, other in pairs)]:
        assert Disjointness(ROOT, follows_references=True).proven(one, other) is expected, (one, other)


def test_a_reference_into_another_document_says_nothing():
    assert not Disjointness(ROOT, follows_references=False).proven(ref("cat"), ref("dog"))


def test_the_first_pair_that_overlaps():
    disjointness = Disjointness(ROOT, follows_references=True)
    assert disjointness.overlap([ref("cat"), ref("dog"), {"type": "null"}]) is None
    assert disjointness.overlap([ref("cat"), ref("dog"), {"type": "object"}, {}]) == (0, 2)
    assert disjointness.overlap([{"const": n} for n in range(5000)]) is None
    assert disjointness.overlap([{"const": 1}, {"enum": [2, 3]}, {"enum": [4, 3]}]) == (1, 2)
    assert disjointness.overlap([]) is None


def test_the_work_is_bounded():
    many = [{"type": "object", "properties": {f"p{n}": {"const": n} for n in range(50)}} for _ in range(100)]
    disjointness = Disjointness({}, follows_references=True)
    with pytest.raises(ValueError, match="anyOf"):
        sum(disjointness.proven(one, other) for one, other in itertools.product(many, many))
