"""Grammars: what is allowed, and what is refused."""

from __future__ import annotations

import json
import random
import re

import numpy as np
import pytest

from sgl_jax.engine.errors import InvalidRequestError
from sgl_jax.engine.grammar import MAX_GRAMMAR_CHARACTERS, Grammar
from sgl_jax.engine.structured.constraint import Constraint
from sgl_jax.engine.structured.mask import MaskRow, allows
from sgl_jax.engine.text.tokenizer import Tokenizer

EOS = 2
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "maximum": 150}},
    "required": ["name", "age"],
    "additionalProperties": False,
}

pytestmark = pytest.mark.model


def tokens_of(row: MaskRow) -> list[int]:
    return np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little")).tolist()


def walk(constraint: Constraint, tokenizer: Tokenizer, seed: int, *, jump: bool, limit: int = 400) -> str | None:
    """The text of a random walk that takes any allowed token; None when it did not end."""
    choose, ids = random.Random(seed), []
    while len(ids) < limit and not constraint.finished:
        row = constraint.allowed()
        assert row is not None
        allowed = tokens_of(row)
        assert allowed, "a dead end"
        assert max(allowed) < tokenizer.vocab_size
        token = EOS if EOS in allowed else choose.choice(allowed)
        if token == EOS:
            break
        constraint.accept(token)
        ids += [token, *(constraint.forced() if jump else [])]
    else:
        if not constraint.finished:
            return None
    return tokenizer.decode(ids)


@pytest.mark.parametrize("jump", [False, True])
def test_a_json_schema_is_kept_whatever_is_drawn(compiled, tokenizer, jump):
    ended = 0
    for seed in range(8):
        text = walk(compiled("json_schema", json.dumps(PERSON)), tokenizer, seed, jump=jump)
        if text is not None:
            ended += 1
            person = json.loads(text)
            assert set(person) == {"name", "age"}
            assert isinstance(person["age"], int)
            assert len(person["name"]) <= 12
    assert ended > 0


@pytest.mark.parametrize(
    ("kind", "text", "pattern"),
    [
        ("regex", r"[ab]{3}-[0-9]{2}", r"[ab]{3}-[0-9]{2}"),
        ("ebnf", 'root ::= "x" ("y" | "z")', "x[yz]"),
        ("ebnf", 'start: "x" ("y" | "z")', "x[yz]"),
        ("choice", '["red", "dark blue"]', "red|dark blue"),
    ],
)
def test_other_kinds(compiled, tokenizer, kind, text, pattern):
    for seed in range(4):
        said = walk(compiled(kind, text), tokenizer, seed, jump=bool(seed % 2))
        assert said is not None
        assert re.fullmatch(pattern, said)


def test_a_choice_of_many_and_of_any_text(fits):
    choices = ["", *(f"c{number}" for number in range(3000)), 'a "b" \\ /c/', "é\n🎉", "<|im_end|>x"][1:]
    text = json.dumps(choices)
    for choice in (choices[0], choices[2999], *choices[-3:-1]):
        assert fits("choice", text, choice)
    assert not fits("choice", text, "c3000")
    assert not fits("choice", text, "c1c2")


def test_forced_tokens_are_those_the_masks_would_leave(compiled, tokenizer):
    text = "a" + 3 * "bcdefgh" + "!"
    constraint = compiled("regex", "a(bcdefgh){3}!")
    assert tokenizer.decode(constraint.forced()) == text
    assert constraint.finished
    patient = compiled("regex", "a(bcdefgh){3}!")
    for token in tokenizer.encode(text):
        assert token in tokens_of(patient.allowed())
        patient.accept(token)
    assert patient.finished


def test_a_structural_tag_leaves_other_text_free(compiled, tokenizer):
    tag = {
        "structures": [{"begin": "<f>", "schema": {"type": "integer"}, "end": "</f>"}],
        "triggers": ["<f>"],
    }
    constraint = compiled("structural_tag", json.dumps(tag))
    for token in tokenizer.encode("Let me see: <f>"):
        row = constraint.allowed()
        assert token in tokens_of(row)
        constraint.accept(token)
    inside = {tokenizer.decode([token]) for token in tokens_of(constraint.allowed())}
    assert "7" in inside
    assert "Hello" not in inside


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("json_schema", '{"type": "array", "uniqueItems": true}', "uniqueItems"),
        ("json_schema", '{"type": "strin"}', "strin"),
        ("json_schema", '{"$ref": "http://example.org/schema"}', "example.org"),
        ("json_schema", "[1", "JSON"),
        ("json_schema", "[]", "object"),
        ("regex", "(a", "unclosed"),
        ("ebnf", "start: nothing", "nothing"),
        ("ebnf", "", "root"),
        ("choice", "[]", "at least one"),
        ("choice", '["a", ""]', "empty"),
        ("structural_tag", '{"structures": [], "triggers": []}', "length >= 1"),
        ("structural_tag", '{"structures": [{"begin": "<f>", "end": ""}], "triggers": ["<g>"]}', "<f>"),
        ("structural_tag", "{}", "structures"),
    ],
)
def test_a_refusal_says_why(compiled, kind, text, says):
    for _ in range(2):  # the second time from the cache
        with pytest.raises(InvalidRequestError, match=re.escape(says)) as refusal:
            compiled(kind, text)
        assert refusal.value.param == "grammar"


def test_an_expensive_grammar_ends_by_itself(compiled):
    with pytest.raises(InvalidRequestError, match="regex"):
        compiled("regex", "".join(f"({chr(97 + n % 26)}|x)*" for n in range(3000)))


def test_size_and_depth_are_bounded():
    with pytest.raises(InvalidRequestError, match="characters"):
        Grammar(kind="regex", text="a" * (MAX_GRAMMAR_CHARACTERS + 1)).validate()
    with pytest.raises(InvalidRequestError, match="deeper"):
        Grammar(kind="json_schema", text='{"items":' * 10_000).validate()
    Grammar(kind="json_schema", text=json.dumps(PERSON)).validate()


WITHOUT_END = [{"type": "regex", "pattern": "a+"}, {"type": "const_string", "value": "a"}]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("ebnf", 'start: ("x" | "y") /a+/ "a"'),
        ("ebnf", '%llguidance {"no_forcing": false}\nstart: ("x" | "y") %lark {\nstart: /a+/ "a"\n}'),
        (
            "structural_tag",
            json.dumps({"type": "sequence", "elements": [{"type": "const_string", "value": "x"}, *WITHOUT_END]}),
        ),
    ],
    ids=["ebnf", "nested", "tag"],
)
def test_a_text_that_goes_on_for_ever_is_drawn_token_by_token(compiled, tokenizer, kind, text):
    constraint = compiled(kind, text)
    for token in (tokenizer.encode(letter, add_special_tokens=False)[0] for letter in "xaaa"):
        assert allows(constraint.allowed(), token)
        constraint.accept(token)
        assert constraint.forced() == []
