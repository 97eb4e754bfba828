from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.engine.errors import InvalidRequestError, ModelLoadError
from sgl_jax.engine.text.chat_template import ChatTemplate
from sgl_jax.engine.text.tokenizer import Tokenizer
from sgl_jax.engine.text.tokenizer_parts import TokenizerParts


@given(text=st.text())
def test_decoding_gives_the_text_back(tiny: Tokenizer, text: str) -> None:
    assert tiny.decode(tiny.encode(text)) == text


def test_bos_is_added_as_the_model_asks_and_only_when_wanted(tiny: Tokenizer) -> None:
    ids = tiny.encode("hello")
    assert ids[0] == tiny.bos_token_id == tiny.token_to_id("<|bos|>")
    assert tiny.encode("hello", add_special_tokens=False) == ids[1:]


def test_special_tokens(tiny: Tokenizer) -> None:
    assert (tiny.bos_token, tiny.eos_token) == ("<|bos|>", "<|end|>")
    assert tiny.eos_token_id == tiny.token_to_id("<|end|>")
    assert {tiny.id_to_token(token) for token in tiny.special_token_ids} == {"<|bos|>", "<|end|>", "<|user|>"}
    assert tiny.token_to_id("no such token") is None
    assert tiny.id_to_token(10**6) is None
    assert tiny.id_to_token(-1) is None


def test_special_spellings_in_text_become_special_tokens(tiny: Tokenizer) -> None:
    ids = tiny.encode("a<|end|>b", add_special_tokens=False)
    assert ids[1] == tiny.eos_token_id
    assert tiny.decode(ids) == "ab"
    assert tiny.decode(ids, skip_special_tokens=False) == "a<|end|>b"


def test_showing_keeps_some_special_tokens_in_the_text(tiny: Tokenizer) -> None:
    ids = tiny.encode("<|user|>a<|end|>b")
    shown = tiny.showing({"<|user|>", "a", "no such token"})
    assert shown.decode(ids) == "<|user|>ab"
    assert shown.decode(ids, skip_special_tokens=False) == tiny.decode(ids, skip_special_tokens=False)
    table = shown.token_bytes()
    assert table is not None
    assert b"".join(table[token] for token in ids) == b"<|user|>ab"
    assert shown.encode("<|user|>a<|end|>b") == ids
    assert tiny.decode(ids) == "ab"
    assert tiny.showing({"a"}) is tiny
    assert tiny.showing(["<|user|>"]) is shown


@given(text=st.text(max_size=40), most=st.integers(2, 30))
def test_a_cut_text_keeps_its_special_tokens(tiny: Tokenizer, text: str, most: int) -> None:
    (plain,) = tiny.encode_batch([text], add_special_tokens=False)
    for special, around in ((True, [tiny.bos_token_id]), (False, [])):
        (found,) = tiny.encode_batch([text], add_special_tokens=special, max_tokens=most)
        assert found == [*around, *plain[: most - len(around)]]


def test_special_tokens_on_both_sides_survive_a_cut(tiny: Tokenizer) -> None:
    backend = tokenizers.Tokenizer.from_str(tiny.to_json())
    around = [(token, backend.token_to_id(token)) for token in ("<|bos|>", "<|end|>")]
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single=["<|bos|>", "$A", "<|end|>"], special_tokens=around
    )
    both = Tokenizer(TokenizerParts(backend, "<|bos|>", "<|end|>", {}, None))
    whole, cut = both.encode_batch(["the cat sat on the mat"])[0], both.encode_batch(["the cat sat"], max_tokens=3)[0]
    assert cut == [whole[0], whole[1], whole[-1]]
    with pytest.raises(InvalidRequestError, match="allow more"):
        both.encode_batch(["the cat sat"], max_tokens=2)


def test_batches_are_encoded_like_single_texts(tiny: Tokenizer) -> None:
    texts = ["hello", "", "the cat", "grüße 🙂"]
    assert tiny.encode_batch(texts) == [tiny.encode(text) for text in texts]
    assert tiny.encode_batch([]) == []


def test_lone_surrogates_are_the_callers_mistake(tiny: Tokenizer) -> None:
    with pytest.raises(InvalidRequestError, match="surrogate"):
        tiny.encode("half a smile: \ud83d")
    with pytest.raises(InvalidRequestError, match="surrogate"):
        tiny.encode_batch(["fine", "\udc00"])


def test_ids_outside_the_vocabulary(tiny: Tokenizer) -> None:
    hello = tiny.encode("hello")
    assert tiny.decode([*hello, tiny.vocab_size, 2**31]) == "hello"
    for token in (-1, 2**40):
        with pytest.raises(InvalidRequestError, match=r"\[0, \d+\)"):
            tiny.decode([token])


def test_truncation_and_padding_of_the_file_are_ignored(tiny_folder: Path, tiny: Tokenizer) -> None:
    path = str(tiny_folder / "tokenizer.json")
    backend = tokenizers.Tokenizer.from_file(path)
    backend.enable_truncation(max_length=4)
    backend.enable_padding(length=8)
    backend.save(path)
    text = "the cat sat on the mat and the dog"
    assert Tokenizer.from_path(tiny_folder).encode_batch([text, "a"]) == tiny.encode_batch([text, "a"])


def test_tokens_that_only_the_config_declares_are_added(tiny_folder: Path) -> None:
    path = tiny_folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config["added_tokens_decoder"] = {
        "1000": {"content": "<|tool|>", "special": True, "lstrip": False},
        "1001": {"content": "<think>", "special": False},
        "0": {"content": "<|bos|>", "special": True},
    }
    path.write_text(json.dumps(config))
    tokenizer = Tokenizer.from_path(tiny_folder)
    ids = tokenizer.encode("<think>a<|tool|>", add_special_tokens=False)
    assert len(ids) == 3
    assert tokenizer.decode(ids) == "<think>a"


class TestChatTemplateFiles:
    def test_in_the_config(self, tiny: Tokenizer) -> None:
        assert tiny.chat_template is not None
        assert "add_generation_prompt" in tiny.chat_template

    def test_a_jinja_file_goes_before_the_config(self, tiny_folder: Path) -> None:
        (tiny_folder / "chat_template.json").write_text(json.dumps({"chat_template": "from json"}))
        assert Tokenizer.from_path(tiny_folder).chat_template == "from json"
        (tiny_folder / "chat_template.jinja").write_text("from jinja ✓", encoding="utf-8")
        assert Tokenizer.from_path(tiny_folder).chat_template == "from jinja ✓"

    def test_of_several_the_default_is_taken(self, tiny_folder: Path) -> None:
        named = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]
        (tiny_folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
        tokenizer = Tokenizer.from_path(tiny_folder)
        assert (tokenizer.chat_template, tokenizer.tool_chat_template) == ("d", "t")
        template = ChatTemplate.of(tokenizer)
        assert template.render([], tools=[{}]) == "t"
        assert ChatTemplate.of(tokenizer, "given").render([], tools=[{}]) == "given"

    def test_one_for_tools_in_a_file_of_its_own(self, tiny_folder: Path) -> None:
        (tiny_folder / "additional_chat_templates").mkdir()
        (tiny_folder / "additional_chat_templates" / "tool_use.jinja").write_text("t")
        assert Tokenizer.from_path(tiny_folder).tool_chat_template == "t"

    def test_none(self, tiny_folder: Path) -> None:
        (tiny_folder / "tokenizer_config.json").unlink()
        tokenizer = Tokenizer.from_path(tiny_folder)
        assert tokenizer.chat_template is None
        assert tokenizer.bos_token is None
        assert tokenizer.eos_token_id is None


def test_a_declared_token_that_is_half_a_character(tiny_folder: Path) -> None:
    declared = {"added_tokens_decoder": {"900": {"content": "\ud800", "special": True}}}
    (tiny_folder / "tokenizer_config.json").write_text(json.dumps(declared))
    with pytest.raises(ModelLoadError, match="unusable token"):
        Tokenizer.from_path(tiny_folder)


def test_special_tokens_map_is_the_fallback(tiny_folder: Path) -> None:
    (tiny_folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>", "bos_token": None}))
    (tiny_folder / "special_tokens_map.json").write_text(json.dumps({"eos_token": "<|user|>", "pad_token": "<|end|>"}))
    tokenizer = Tokenizer.from_path(tiny_folder)
    assert tokenizer.eos_token == "<|end|>"
    assert tokenizer.bos_token is None
    assert tokenizer.special_tokens == {"pad_token": "<|end|>"}


class TestUnusablePaths:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ModelLoadError, match="does not exist"):
            Tokenizer.from_path(tmp_path / "nothing")

    def test_of_another_kind(self, tmp_path: Path) -> None:
        (tmp_path / "model.bin").write_bytes(b"x")
        with pytest.raises(ModelLoadError, match="neither"):
            Tokenizer.from_path(tmp_path / "model.bin")

    def test_without_tokenizer_json(self, tmp_path: Path) -> None:
        with pytest.raises(ModelLoadError, match=r"No tokenizer\.json .* --tokenizer-path"):
            Tokenizer.from_path(tmp_path)

    @pytest.mark.parametrize("content", ["", "{", "{}", "[1]"])
    def test_with_a_damaged_tokenizer(self, tiny_folder: Path, content: str) -> None:
        (tiny_folder / "tokenizer.json").write_text(content)
        with pytest.raises(ModelLoadError, match=r"tokenizer\.json"):
            Tokenizer.from_path(tiny_folder)

    @pytest.mark.parametrize("content", ["{", "[1]"])
    def test_with_a_damaged_config(self, tiny_folder: Path, content: str) -> None:
        (tiny_folder / "tokenizer_config.json").write_text(content)
        with pytest.raises(ModelLoadError, match=r"tokenizer_config\.json"):
            Tokenizer.from_path(tiny_folder)


def test_the_tokenizer_file_itself_may_be_named(tiny_folder: Path, tiny: Tokenizer) -> None:
    assert Tokenizer.from_path(tiny_folder / "tokenizer.json").encode("hello") == tiny.encode("hello")
