from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.text.byte_alphabet import spelled_bytes
from sgl_jax.engine.text.gguf_pretokenizers import RULES, rule_named

# The characters that the patterns distinguish, more often than chance would draw them.
texts = st.text(st.one_of(st.sampled_from(" \n\r\t'sStTldDvVrReEmM019½一ぁ.,!/é\u0301"), st.characters(codec="utf-8")))


def words(rule: str, text: str) -> list[str]:
    pieces = rule_named(rule).build().pre_tokenize_str(text)
    return [spelled_bytes(piece).decode() for piece, _ in pieces]


@given(text=texts)
def test_gpt2_is_the_librarys_own_pattern(text: str) -> None:
    expected = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(text)
    assert rule_named("gpt-2").build().pre_tokenize_str(text) == expected


@given(text=texts)
def test_smollm_is_single_digits_then_gpt2(text: str) -> None:
    # What SmolLM2's tokenizer.json has.
    digits = pre_tokenizers.Digits(individual_digits=True)
    expected = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    assert rule_named("smollm").build().pre_tokenize_str(text) == expected.pre_tokenize_str(text)


@pytest.mark.parametrize("rule", sorted(RULES))
@given(text=texts)
def test_no_rule_loses_text(rule: str, text: str) -> None:
    assert "".join(words(rule, text)) == text


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("gpt-2", ["Don", "'t", " stop", ",", " it", "'", "S", " 2024", "!", "\n", "\n", "OK"]),
        ("smollm", ["Don", "'t", " stop", ",", " it", "'", "S", " ", "2", "0", "2", "4", "!", "\n", "\n", "OK"]),
        ("llama-bpe", ["Don", "'t", " stop", ",", " it", "'S", " ", "202", "4", "!\n\n", "OK"]),
        ("qwen2", ["Don", "'t", " stop", ",", " it", "'S", " ", "2", "0", "2", "4", "!\n\n", "OK"]),
        ("gpt-4o", ["Don't", " stop", ",", " it'S", " ", "202", "4", "!\n\n", "OK"]),
        ("tekken", ["Don", "'t", " stop", ",", " it", "'S", " ", "2", "0", "2", "4", "!\n\n", "OK"]),
        ("deepseek-v3", ["Don", "'t", " stop", ",", " it", "'S", " ", "202", "4", "!\n\n", "OK"]),
    ],
)
def test_how_a_sentence_is_cut(rule: str, expected: list[str]) -> None:
    assert words(rule, "Don't stop, it'S 2024!\n\nOK") == expected


def test_an_unknown_rule_names_those_known() -> None:
    with pytest.raises(ModelLoadError, match=r"'klingon' is not known .*qwen2.*--tokenizer-path"):
        rule_named("klingon")
