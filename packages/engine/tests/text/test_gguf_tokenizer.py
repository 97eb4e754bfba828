from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFWriter
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.text.tokenizer import Tokenizer

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6


def write_gguf(path: Path, fields: dict[str, Any]) -> Path:
    writer = GGUFWriter(path, "llama")
    adders = {bool: writer.add_bool, int: writer.add_uint32, str: writer.add_string, list: writer.add_array}
    for name, value in fields.items():
        key = name if "." in name else f"tokenizer.ggml.{name}"
        adders[type(value)](key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def byte_level_fields(folder: Path, **changes: Any) -> dict[str, Any]:
    """The GGUF fields of the tiny Hugging Face tokenizer, with changes; a change to None leaves a field out."""
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    fields = {
        "model": "gpt2",
        "pre": "gpt-2",
        "tokens": tokens,
        "token_type": [CONTROL if token.startswith("<|") else NORMAL for token in tokens],
        "merges": [" ".join(pair) for pair in model["merges"]],
        "bos_token_id": model["vocab"]["<|bos|>"],
        "eos_token_id": model["vocab"]["<|end|>"],
        "add_bos_token": True,
        "tokenizer.chat_template": "{{ messages }}",
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


@pytest.fixture(scope="module")
def saved_folder(tmp_path_factory: pytest.TempPathFactory, tiny: Tokenizer) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    tiny._backend.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def converted(saved_folder: Path) -> Tokenizer:
    return Tokenizer.from_path(write_gguf(saved_folder / "m.gguf", byte_level_fields(saved_folder)))


class TestByteLevel:
    @given(text=st.one_of(st.text(), st.text("the catdog,123<|end>\n")))
    def test_is_the_same_tokenizer_as_the_folders(self, tiny: Tokenizer, converted: Tokenizer, text: str) -> None:
        assert converted.encode(text) == tiny.encode(text)

    def test_names_and_template(self, converted: Tokenizer, tiny: Tokenizer) -> None:
        assert (converted.bos_token, converted.eos_token) == ("<|bos|>", "<|end|>")
        assert converted.special_token_ids == tiny.special_token_ids
        assert converted.vocab_size == tiny.vocab_size
        assert converted.chat_template == "{{ messages }}"

    @pytest.mark.parametrize(
        ("changes", "added"),
        [
            ({"add_bos_token": None}, ([], [])),
            ({"add_bos_token": False, "add_eos_token": True}, ([], ["<|end|>"])),
            ({"add_eos_token": True}, (["<|bos|>"], ["<|end|>"])),
            ({"add_bos_token": None, "pre": "llama-bpe"}, (["<|bos|>"], [])),
        ],
    )
    def test_what_is_added(
        self, tmp_path: Path, saved_folder: Path, changes: dict[str, Any], added: tuple[list[str], list[str]]
    ) -> None:
        path = write_gguf(tmp_path / "m.gguf", byte_level_fields(saved_folder, **changes))
        tokenizer = Tokenizer.from_path(path)
        plain = tokenizer.encode("cat", add_special_tokens=False)
        before, after = ([tokenizer.token_to_id(token) for token in side] for side in added)
        assert tokenizer.encode("cat") == [*before, *plain, *after]

    def test_user_defined_tokens_are_whole_but_visible(self, tmp_path: Path, saved_folder: Path) -> None:
        fields = byte_level_fields(saved_folder)
        fields["tokens"] += ["<think>"]
        fields["token_type"] += [USER_DEFINED]
        tokenizer = Tokenizer.from_path(write_gguf(tmp_path / "m.gguf", fields))
        ids = tokenizer.encode("<think>a", add_special_tokens=False)
        assert len(ids) == 2
        assert tokenizer.decode(ids) == "<think>a"

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"pre": "klingon"}, "'klingon' is not known"),
            ({"model": "bert"}, "'bert'; known are gpt2, llama"),
            ({"model": None}, "None; known are"),
            ({"tokens": None}, "no list of strings 'tokenizer.ggml.tokens'"),
            ({"merges": None}, "no list of strings 'tokenizer.ggml.merges'"),
            ({"merges": ["no such-pair"]}, "inconsistent"),
            ({"token_type": [1, 1]}, "token_type"),
            ({"bos_token_id": 10**6}, "bos_token_id 1000000"),
            ({"bos_token_id": None}, "which token"),
        ],
    )
    def test_unusable_files(self, tmp_path: Path, saved_folder: Path, changes: dict[str, Any], says: str) -> None:
        path = write_gguf(tmp_path / "m.gguf", byte_level_fields(saved_folder, **changes))
        with pytest.raises(ModelLoadError, match=says) as caught:
            Tokenizer.from_path(path)
        assert str(path) in str(caught.value)


PIECES = ["▁", "a", "b", "c", "ab", "▁a", "bc", "▁ab", "abc", "▁abc", "ca", "cab", "▁▁"]


def sentencepiece_greedy(text: str) -> list[str]:
    """The rule itself: join the neighbours whose union scores best (earliest in PIECES), leftmost first."""
    symbols = list("▁" + text.replace(" ", "▁"))
    while True:
        joins = [
            (PIECES.index(left + right), at)
            for at, (left, right) in enumerate(pairwise(symbols))
            if left + right in PIECES
        ]
        if not joins:
            return symbols
        _, at = min(joins)
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]


@pytest.fixture(scope="module")
def spm(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *PIECES]
    scores = [0.0] * 259 + [-float(index) for index in range(len(PIECES))]
    types = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * len(PIECES)]
    fields = {
        "model": "llama",
        "tokens": tokens,
        "scores": scores,
        "token_type": types,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
    }
    return Tokenizer.from_path(write_gguf(tmp_path_factory.mktemp("spm") / "m.gguf", fields))


class TestSentencePiece:
    @given(text=st.text("abc ", min_size=1, max_size=30))
    def test_merges_like_sentencepiece(self, spm: Tokenizer, text: str) -> None:
        ids = spm.encode(text, add_special_tokens=False)
        assert [spm.id_to_token(token) for token in ids] == sentencepiece_greedy(text)

    @given(text=st.text(min_size=1))
    def test_round_trip_with_byte_fallback(self, spm: Tokenizer, text: str) -> None:
        ids = spm.encode(text)
        assert ids[0] == spm.bos_token_id == 1
        assert spm.decode(ids) == text.replace("▁", " ")


BYTE_NAME = ["<", "0", "x", "6", "1", ">", "0x", "61", "61>", "0x61>"]
"""All that it takes to spell the name of a byte token."""


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "\n\n", "  ", "   "]
    types = [CONTROL, CONTROL, CONTROL, UNKNOWN, CONTROL, *[USER_DEFINED] * 3]
    tokens += [*(f"<0x{byte:02X}>" for byte in range(256)), *PIECES, "\n", *BYTE_NAME]
    types += [BYTE] * 256 + [NORMAL] * (len(PIECES) + 1 + len(BYTE_NAME))
    scores = [0.0] * 264 + [-float(index) for index in range(len(tokens) - 264)]
    fields = {
        "model": "llama",
        "tokens": tokens,
        "scores": scores,
        "token_type": types,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "unknown_token_id": 3,
        "add_bos_token": True,
        "add_space_prefix": False,
        "tokenizer.chat_template": "{{ bos_token }}<start_of_turn>",
    }
    return Tokenizer.from_path(write_gguf(tmp_path_factory.mktemp("gemma") / "m.gguf", fields))


class TestGemma:
    """SentencePiece without a space in front, and with runs of spaces as tokens of their own."""

    @pytest.mark.parametrize(
        ("text", "pieces"),
        [
            ("abc", ["abc"]),
            ("abc abc", ["abc", "▁abc"]),
            ("a  b", ["a", "  ", "b"]),
            ("a\n\nb\n", ["a", "\n\n", "b", "\n"]),
            ("<start_of_turn>abc", ["<start_of_turn>", "abc"]),
            ("é", ["<0xC3>", "<0xA9>"]),
            ("<0x61>", ["<", "0x61>"]),  # a byte token's name is no way to write it
        ],
    )
    def test_pieces(self, gemma: Tokenizer, text: str, pieces: list[str]) -> None:
        ids = gemma.encode(text)
        assert [gemma.id_to_token(token) for token in ids] == ["<bos>", *pieces]
        assert gemma.decode(ids, skip_special_tokens=False) == "<bos>" + text

    def test_names_and_template(self, gemma: Tokenizer) -> None:
        assert (gemma.bos_token, gemma.eos_token, gemma.special_token_ids) == ("<bos>", "<eos>", frozenset(range(5)))
        assert gemma.chat_template == "{{ bos_token }}<start_of_turn>"


@pytest.mark.model
class TestSmolLM2:
    @pytest.mark.parametrize(
        ("text", "ids"),
        [
            ("Hello, we can use", [19556, 28, 392, 416, 722]),
            ("The capital of France is", [504, 3575, 282, 4649, 314]),
            ("Hello world! 123", [19556, 905, 17, 216, 33, 34, 35]),
            ("Café déjà vu.", [51, 1939, 2756, 32564, 90, 16739, 386, 101, 30]),
            ("  multiple   spaces", [216, 2701, 256, 5600]),
            ("\n", [198]),
            ("<|im_start|>user\n", [1, 4093, 198]),
        ],
    )
    def test_known_ids(self, smollm2: Tokenizer, text: str, ids: list[int]) -> None:
        assert smollm2.encode(text) == ids

    def test_facts(self, smollm2: Tokenizer) -> None:
        assert smollm2.vocab_size == 49152
        assert (smollm2.bos_token, smollm2.eos_token) == ("<|im_start|>", "<|im_end|>")
        assert (smollm2.bos_token_id, smollm2.eos_token_id) == (1, 2)
        assert smollm2.special_tokens == {"unk_token": "<|endoftext|>", "pad_token": "<|im_end|>"}
        assert smollm2.special_token_ids == frozenset(range(17))
        assert smollm2.chat_template is not None

    @given(text=st.text(st.characters(categories=["L", "M", "N", "P", "S", "Z"])))
    def test_round_trip(self, smollm2: Tokenizer, text: str) -> None:
        assert smollm2.decode(smollm2.encode(text)) == text

    def test_bytes_without_a_token_vanish(self, smollm2: Tokenizer) -> None:
        # Some control characters never occurred in the training text; there is no unknown token for them.
        assert smollm2.decode(smollm2.encode("a\x04b")) == "ab"
