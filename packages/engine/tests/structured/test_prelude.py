"""Where a constraint begins: at once, behind reasoning that the prompt opened, or behind reasoning if there is any."""

from __future__ import annotations

import numpy as np
import pytest

from sgl_jax.engine.structured.constraint import GrammarFailedError
from sgl_jax.engine.structured.mask import all_but, allow, allows

EOS = 2
NUMBER = ("regex", "[0-9]+")

pytestmark = pytest.mark.model


def starts(row, tokenizer):
    return {tokenizer.decode([token]) for token in np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little"))}


def test_behind_the_end_of_reasoning(compiled, tokenizer):
    constraint = compiled(*NUMBER, after="</think>")
    for token in tokenizer.encode("Well, 5 and 6 <b>make</b> what?</think>"):
        row = constraint.allowed()
        assert allows(row, token)
        assert not allows(row, EOS)
        assert not constraint.finished
        assert constraint.forced() == []
        constraint.accept(token)
    assert starts(constraint.allowed(), tokenizer) <= {str(number) for number in range(1000)}


def test_an_optional_answer_may_end_in_its_reasoning(compiled, tokenizer):
    constraint = compiled(*NUMBER, after="</think>", optional=True)
    constraint.accept(tokenizer.encode("Hm")[0])
    assert constraint.allowed() is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("12", True),
        ("<think>12</think>34", True),
        ("\n<think>\nIs it 12?\n</think>34", True),
        ("<think> </think>7", True),
        ("<think>12", False),
        ("<b>", False),
        ("\n12", False),
        ("Well, 12", False),
        ("<think>12</think>no", False),
        ("12<think></think>34", False),
    ],
)
def test_reasoning_that_may_be_there_or_not(fits, answer, said):
    assert fits(*NUMBER, answer, after="</think>", opening="<think>") is said


def test_forced_tokens_come_without_reasoning_too(compiled, tokenizer):
    constraint = compiled("regex", "abcdefgh ijkl", after="</think>", opening="<think>")
    first = tokenizer.encode("abcdefgh ijkl")[0]
    assert allows(constraint.allowed(), first)
    constraint.accept(first)
    assert tokenizer.decode([first, *constraint.forced()]) == "abcdefgh ijkl"
    assert constraint.finished


def test_one_token_may_end_the_reasoning_and_begin_the_answer(compiled, tokenizer):
    (token,) = tokenizer.encode('("')
    constraint = compiled("regex", '"[xy]"', after="(")
    constraint.accept(token)
    assert starts(constraint.allowed(), tokenizer) >= {"x", "y"}
    assert "(" not in starts(constraint.allowed(), tokenizer)
    with pytest.raises(GrammarFailedError):
        compiled("regex", "x", after="(").accept(token)


@pytest.mark.parametrize("size", [1, 31, 32, 33, 100])
def test_rows_of_bits(size):
    row = all_but(size, [0, size // 2])
    assert [token for token in range(size) if not allows(row, token)] == sorted({0, size // 2})
    assert not np.unpackbits(row.view(np.uint8), bitorder="little")[size:].any()
    allow(row, [0])
    assert allows(row, 0)
