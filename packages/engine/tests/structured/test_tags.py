"""Structural tags in their forms: which answers fit."""

from __future__ import annotations

import json

import pytest

from sgl_jax.engine.errors import InvalidRequestError

INTEGER = {"type": "json_schema", "json_schema": {"type": "integer"}}
TEXT = {"type": "any_text"}
CALL = {"type": "tag", "begin": "<f>", "content": INTEGER, "end": "</f>"}
OTHER = {"type": "tag", "begin": "<f2>", "content": {"type": "regex", "pattern": "a+/b"}, "end": ["</f2>", "!"]}
TRIGGERED = {"type": "triggered_tags", "triggers": ["<f"], "tags": [CALL, OTHER]}
SEPARATED = {"type": "tags_with_separator", "tags": [CALL, OTHER], "separator": ", "}
OLD = {
    "type": "structural_tag",
    "structures": [{"begin": "<f>", "schema": {"type": "integer"}, "end": "</f>"}, {"begin": "<g>", "end": ""}],
    "triggers": ["<f", "<g"],
}


def const(value):
    return {"type": "const_string", "value": value}


@pytest.mark.model
@pytest.mark.parametrize(
    ("tag", "yes", "no"),
    [
        (const("exactly"), ["exactly"], ["exactl", "exactly!", ""]),
        (const(""), [""], ["x"]),
        (INTEGER, ["5", "-17"], ["x", "5.5"]),
        ({"type": "regex", "pattern": "[/\n]\\/"}, ["//", "\n/"], ["/"]),
        (TEXT, ["", "anything\ngoes <f>"], []),
        ({"type": "sequence", "elements": [const("a"), INTEGER, const("b")]}, ["a5b"], ["a5", "5b"]),
        ({"type": "or", "elements": [const("a"), INTEGER]}, ["a", "5"], ["a5", ""]),
        ({"type": "optional", "content": const("ab")}, ["", "ab"], ["abab"]),
        ({"type": "plus", "content": const("ab")}, ["ab", "ababab"], [""]),
        ({"type": "star", "content": const("ab")}, ["", "abab"], ["aba"]),
        ({"type": "repeat", "content": const("a"), "min": 2, "max": 3}, ["aa", "aaa"], ["a", "aaaa"]),
        ({"type": "repeat", "content": const("a"), "min": 1, "max": -1}, ["a", "aaaaaa"], [""]),
        (CALL, ["<f>12</f>"], ["<f>x</f>", "<f>12", "x<f>12</f>"]),
        (OTHER, ["<f2>aa/b</f2>", "<f2>a/b!"], ["<f2>a/b"]),
        ({**CALL, "content": TEXT}, ["<f>a < b</f>"], ["<f>a</f>b</f>", "<f>a"]),
        ({**CALL, "content": TEXT, "end": "<|im_start|>x"}, ["<f>a<|im_start|>x"], ["<f>a", "<f>a<|im_start|>"]),
        ({**CALL, "content": TEXT, "end": ""}, ["<f>", "<f>a"], ["f"]),
        (
            TRIGGERED,
            ["", "just text", "so: <f>1</f> and <f2>a/b!, really", "<f>1</f><f>2</f>"],
            ["so: <f>x</f>", "a <f", "a <fx>", "<f>1</f> <f>"],
        ),
        ({**TRIGGERED, "at_least_one": True}, ["<f>1</f>", "<f>1</f> and <f>2</f>."], ["", "text", "so: <f>1</f>"]),
        ({**TRIGGERED, "stop_after_first": True}, ["", "text", "so: <f>1</f>"], ["<f>1</f>.", "<f>1</f><f>2</f>"]),
        ({**TRIGGERED, "at_least_one": True, "stop_after_first": True}, ["<f>1</f>"], ["", "a<f>1</f>", "<f>1</f>b"]),
        (SEPARATED, ["", "<f>1</f>", "<f>1</f>, <f2>a/b!, <f>3</f>"], ["<f>1</f>,", "<f>1</f><f>1</f>", "x"]),
        ({**SEPARATED, "at_least_one": True}, ["<f>1</f>"], [""]),
        ({**SEPARATED, "stop_after_first": True}, ["", "<f>1</f>"], ["<f>1</f>, <f>2</f>"]),
        (OLD, ["", "so: <f>1</f> or <g>[1, null]", "<g>{} <f>2</f>"], ["<f>x", "<g>}"]),
    ],
)
def test_what_fits(fits, tag, yes, no):
    for text in (json.dumps(tag), json.dumps({"type": "structural_tag", "format": tag}))[: 1 if tag is OLD else 2]:
        assert {answer: fits("structural_tag", text, answer) for answer in (*yes, *no)} == {
            **dict.fromkeys(yes, True),
            **dict.fromkeys(no, False),
        }


@pytest.mark.model
def test_a_special_token_in_a_tag_is_that_token(compiled, tokenizer):
    tag = {"type": "tag", "begin": "a<|im_start|>b", "content": INTEGER, "end": "<|endoftext|>"}
    constraint = compiled("structural_tag", json.dumps(tag))
    assert constraint.forced() == tokenizer.encode("a<|im_start|>b", add_special_tokens=False)
    constraint.accept(tokenizer.encode("7")[0])
    constraint.accept(tokenizer.token_to_id("<|endoftext|>"))
    assert constraint.finished


@pytest.mark.model
def test_schemas_in_tags_are_kept_to_like_others(fits):
    schema = {"type": "object", "properties": {"a": {"format": "date"}}, "required": ["a"], "x-guidance": {}}
    tag = json.dumps({**CALL, "content": {"type": "json_schema", "json_schema": schema}})
    assert fits("structural_tag", tag, '<f>{"a": "2024-02-29"}</f>')
    assert not fits("structural_tag", tag, '<f>{"a": "2023-02-29"}</f>')


@pytest.mark.model
@pytest.mark.parametrize(
    ("tag", "says"),
    [
        ({}, "type"),
        ([], "format"),
        ({"type": "poem"}, "poem"),
        ({"format": {"type": "tag", "begin": "a", "end": "b"}}, "content"),
        ({"type": "any_text", "max_tokens": 5}, "max_tokens"),
        ({"type": "or", "elements": []}, "length >= 1"),
        ({**SEPARATED, "tags": [{"begin": "x"}]}, "tags"),
        ({**TRIGGERED, "triggers": ["<g"]}, "no trigger begins the tag '<f>'"),
        ({"type": "repeat", "content": TEXT, "min": 3, "max": 2}, "min=3"),
        ({"type": "repeat", "content": TEXT, "min": 3, "max": 10**9}, "max"),
        ({"type": "regex", "pattern": "(a"}, "unclosed"),
        ({"type": "json_schema", "json_schema": {"items": {"not": {}}}}, "'not' at #/items"),
        ({"type": "json_schema", "json_schema": False}, "must be an object"),
        ({"structures": [{"begin": "<f>", "schema": {"uniqueItems": True}, "end": ""}], "triggers": ["<"]}, "unique"),
    ],
)
def test_a_refusal_says_why(compiled, tag, says):
    with pytest.raises(InvalidRequestError, match=says):
        compiled("structural_tag", json.dumps(tag))
