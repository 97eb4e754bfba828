"""Whatever the split, the pieces joined are what decoding all ids at once gives."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers

from sgl_jax.engine.text.detokenizer import IncrementalDetokenizer
from sgl_jax.engine.text.tokenizer import Tokenizer
from sgl_jax.engine.text.tokenizer_parts import TokenizerParts


def split(ids: Sequence[int], cuts: Sequence[int]) -> list[list[int]]:
    edges = [0, *sorted(cut % (len(ids) + 1) for cut in cuts), len(ids)]
    return [list(ids[start:end]) for start, end in pairwise(edges)]


def pieces(tokenizer: Tokenizer, pushes: Sequence[Sequence[int]], *, skip: bool = True) -> list[str]:
    detokenizer = IncrementalDetokenizer(tokenizer, skip_special_tokens=skip)
    return [*(detokenizer.push(push) for push in pushes), detokenizer.flush()]


@pytest.mark.model
@settings(max_examples=500)
@given(data=st.data(), skip=st.booleans())
def test_smollm2_in_any_split(smollm2: Tokenizer, data: st.DataObject, skip: bool) -> None:
    # Random ids are mostly whole words, so broken UTF-8 and special tokens are drawn on purpose.
    raw_bytes = [token for token in range(17, 600) if len(smollm2.id_to_token(token) or "") == 1]
    token = st.one_of(
        st.integers(0, smollm2.vocab_size - 1),
        st.sampled_from(raw_bytes),
        st.sampled_from(sorted(smollm2.special_token_ids)),
        st.integers(smollm2.vocab_size, 2**32 - 1),
    )
    ids = data.draw(st.lists(token, max_size=40))
    pushes = split(ids, data.draw(st.lists(st.integers(0, 40), max_size=20)))
    assert "".join(pieces(smollm2, pushes, skip=skip)) == smollm2.decode(ids, skip_special_tokens=skip)


@given(raw=st.binary(max_size=60), cuts=st.lists(st.integers(0, 60), max_size=20))
def test_any_bytes_in_any_split(tiny: Tokenizer, raw: bytes, cuts: list[int]) -> None:
    table = tiny.token_bytes()
    assert table is not None
    token_of = {table[token]: token for token in range(tiny.vocab_size) if len(table[token]) == 1}
    ids = [token_of[bytes([byte])] for byte in raw]
    text = "".join(pieces(tiny, split(ids, cuts)))
    assert text == tiny.decode(ids) == raw.decode(errors="replace")


def test_nothing_ends_inside_a_character(tiny: Tokenizer) -> None:
    ids = tiny.encode("a🙂é", add_special_tokens=False)
    assert pieces(tiny, [[token] for token in ids]) == ["a", "", "", "", "🙂", "", "é", ""]


def test_broken_bytes_do_not_hold_up_what_follows(tiny: Tokenizer) -> None:
    smile = tiny.encode("🙂", add_special_tokens=False)
    hello = tiny.encode("hello", add_special_tokens=False)
    assert pieces(tiny, [smile[:2], hello, smile[:1]]) == ["", "\ufffdhello", "", "\ufffd"]


def test_special_tokens_are_left_out_unless_wanted(tiny: Tokenizer) -> None:
    ids = tiny.encode("hello<|end|>")
    pushes = [[token] for token in ids]
    assert "".join(pieces(tiny, pushes)) == "hello"
    assert "".join(pieces(tiny, pushes, skip=False)) == "<|bos|>hello<|end|>"


def wrap(backend: tokenizers.Tokenizer) -> Tokenizer:
    return Tokenizer(TokenizerParts(backend, bos_token=None, eos_token=None, special_tokens={}, chat_template=None))


@pytest.fixture(scope="module")
def spaced() -> Tokenizer:
    """As Llama 2 has it: ▁ for spaces, the first of which is stripped, and byte tokens."""
    tokens = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "▁▁", "▁the", "cat", "▁cat", "!"]
    backend = tokenizers.Tokenizer(
        models.BPE({token: index for index, token in enumerate(tokens)}, [], unk_token="<unk>", byte_fallback=True)
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence(steps)
    backend.add_special_tokens([AddedToken("<s>", special=True, normalized=False)])
    return wrap(backend)


@pytest.fixture(scope="module")
def hashed() -> Tokenizer:
    """As BERT has it: words apart, continuations marked."""
    tokens = ["[UNK]", "the", "cat", "##s", "##ing", "!", "."]
    backend = tokenizers.Tokenizer(models.WordPiece({token: index for index, token in enumerate(tokens)}))
    backend.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return wrap(backend)


@pytest.mark.parametrize("kind", ["spaced", "hashed"])
@given(data=st.data(), skip=st.booleans())
def test_other_decoders_in_any_split(
    kind: str, request: pytest.FixtureRequest, data: st.DataObject, skip: bool
) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(kind)
    last = tokenizer.vocab_size - 1
    # Byte tokens of "é" and "🙂" next to visible ones.
    favoured = [token for token in (1, 2 + 0xC3, 2 + 0xA9, *(2 + byte for byte in "🙂".encode())) if token <= last]
    token = st.one_of(st.sampled_from(favoured), st.integers(0, last), st.integers(max(0, last - 5), last))
    ids = data.draw(st.lists(token, max_size=30))
    pushes = split(ids, data.draw(st.lists(st.integers(0, 30), max_size=15)))
    found = pieces(tokenizer, pushes, skip=skip)
    assert "".join(found) == tokenizer.decode(ids, skip_special_tokens=skip)


def test_byte_runs_wait_for_their_end_and_words_do_not(spaced: Tokenizer) -> None:
    the, cat = spaced.token_to_id("▁the"), spaced.token_to_id("▁cat")
    assert the is not None
    assert cat is not None
    smile = [2 + byte for byte in "🙂".encode()]
    assert pieces(spaced, [[the], [cat], *([token] for token in smile), [cat]]) == [
        "the",
        " cat",
        *[""] * 4,
        "🙂 cat",
        "",
    ]
