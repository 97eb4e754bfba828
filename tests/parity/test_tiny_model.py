"""The tiny model maker writes what the goldens and other tests rely on."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from sgl_jax.engine.config.model_files import resolve


def test_the_same_arguments_give_the_same_files(tiny_model: ModuleType, tmp_path: Path) -> None:
    first = tiny_model.make_tiny_model(tmp_path / "a", seed=3)
    second = tiny_model.make_tiny_model(tmp_path / "b", seed=3)
    for name in sorted(path.name for path in first.iterdir()):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    other = tiny_model.make_tiny_model(tmp_path / "c", seed=4)
    assert tiny_model.tiny_digest(other) != tiny_model.tiny_digest(first)


def test_shards_hold_the_same_weights(tiny_model: ModuleType, tmp_path: Path) -> None:
    whole = load_file(tiny_model.make_tiny_model(tmp_path / "whole") / "model.safetensors")
    files = resolve(str(tiny_model.make_tiny_model(tmp_path / "parts", shards=3)))
    assert len(files.weight_files) == 3
    parts = {name: tensor for file in files.weight_files for name, tensor in load_file(file).items()}
    assert parts.keys() == whole.keys()
    for name, tensor in whole.items():
        np.testing.assert_array_equal(parts[name], tensor)


def test_a_tied_model_differs_in_its_output_layer_only(tiny_model: ModuleType, tmp_path: Path) -> None:
    untied = load_file(tiny_model.make_tiny_model(tmp_path / "untied") / "model.safetensors")
    tied = load_file(tiny_model.make_tiny_model(tmp_path / "tied", tie=True) / "model.safetensors")
    assert untied.keys() - tied.keys() == {"lm_head.weight"}
    for name, tensor in tied.items():
        np.testing.assert_array_equal(untied[name], tensor)


@pytest.mark.parametrize("text", ["Hello, world! 42", "grüße 🙂\n\ttabs", "<|im_start|>user\nHi<|im_end|>"])
def test_the_tokenizer_takes_any_text(tiny_model: ModuleType, tmp_path: Path, text: str) -> None:
    folder = tiny_model.make_tiny_model(tmp_path)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    config = json.loads((folder / "config.json").read_text())
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert tokenizer.get_vocab_size() == config["vocab_size"]
    assert tokenizer.token_to_id("<|im_end|>") == config["eos_token_id"]


def test_bad_arguments_are_named(tiny_model: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="LlamaForCausalLM"):
        tiny_model.make_tiny_model(tmp_path, "Unknown")
    with pytest.raises(ValueError, match="float32"):
        tiny_model.make_tiny_model(tmp_path, dtype="int3")
    with pytest.raises(ValueError, match="vocab_size"):
        tiny_model.make_tiny_model(tmp_path, vocab_size=10)
    with pytest.raises(ValueError, match="shards"):
        tiny_model.make_tiny_model(tmp_path, shards=1000)
