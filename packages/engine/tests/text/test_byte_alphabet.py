from __future__ import annotations

from tokenizers import pre_tokenizers

from sgl_jax.engine.text.byte_alphabet import BYTE_OF_CHARACTER, TokenBytes, spelled_bytes
from sgl_jax.engine.text.tokenizer import Tokenizer


def test_the_alphabet_is_the_librarys() -> None:
    assert set(BYTE_OF_CHARACTER) == set(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(BYTE_OF_CHARACTER.values()) == list(range(256))
    for byte in range(128):  # ASCII, where one byte is one character
        ((spelled, _),) = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(chr(byte))
        assert spelled_bytes(spelled) == bytes([byte])


def test_tokens_outside_the_alphabet_are_plain_text() -> None:
    assert spelled_bytes("Ġthe") == b" the"
    assert spelled_bytes("a token") == b"a token"


def test_hostile_ids_do_not_grow_the_table() -> None:
    table = TokenBytes({1: "a"}.get, skipped=frozenset({2}))
    assert [table[token] for token in (1, 2, 3, 10**9)] == [b"a", b"", b"", b""]
    assert len(table) == 1


def test_a_table_is_shared_and_says_what_is_skipped(tiny: Tokenizer) -> None:
    visible, whole = tiny.token_bytes(), tiny.token_bytes(skip_special_tokens=False)
    assert visible is tiny.token_bytes()
    assert visible is not None
    assert whole is not None
    assert tiny.eos_token_id is not None
    assert visible[tiny.eos_token_id] == b""
    assert whole[tiny.eos_token_id] == b"<|end|>"
