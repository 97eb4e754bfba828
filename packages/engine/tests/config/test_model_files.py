"""What lies at a model path, and what the user is told when it is not a whole model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from safetensors.numpy import save_file

from sgl_jax.engine.config.model_files import resolve
from sgl_jax.engine.errors import ConfigError, ModelLoadError

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 8,
    "hidden_size": 4,
    "intermediate_size": 4,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "eos_token_id": 2,
}
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def single(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file({"w": np.zeros((2, 2), np.float32)}, folder / "model.safetensors")
    return folder


def sharded(folder: Path) -> Path:
    single(folder)
    (folder / "model.safetensors").unlink()
    for shard in SHARDS:
        save_file({shard: np.zeros(2, np.float32)}, folder / shard)
    write_index(folder, {shard: shard for shard in SHARDS})
    return folder


def write_index(folder: Path, weight_map: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def gguf(path: Path) -> Path:
    writer = GGUFWriter(path, "llama")
    for key, value in {"block_count": 1, "embedding_length": 4, "feed_forward_length": 4}.items():
        writer.add_uint32(f"llama.{key}", value)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tensor("token_embd.weight", np.zeros((8, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def complaint(path: Path | str, load_format: str = "auto") -> str:
    with pytest.raises(ModelLoadError) as caught:
        resolve(str(path), load_format)
    return str(caught.value)


def test_a_folder_with_one_weight_file(tmp_path: Path) -> None:
    files = resolve(str(single(tmp_path)))
    assert (files.kind, files.root) == ("safetensors", tmp_path)
    assert files.weight_files == (tmp_path / "model.safetensors",)
    assert files.config == CONFIG
    assert files.generation_config is None
    assert files.spec().eos_token_ids == (2,)


def test_a_folder_with_shards(tmp_path: Path) -> None:
    files = resolve(str(sharded(tmp_path)))
    assert [file.name for file in files.weight_files] == list(SHARDS)


def test_the_generation_config_adds_end_tokens(tmp_path: Path) -> None:
    single(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [2, 7]}')
    assert resolve(str(tmp_path)).spec().eos_token_ids == (2, 7)


def test_end_tokens_outside_the_vocabulary_are_none(tmp_path: Path) -> None:
    single(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [-1, CONFIG["vocab_size"], 0]}))
    assert resolve(str(tmp_path)).spec().eos_token_ids == (2, 0)


def test_a_gguf_file_and_a_folder_with_one(tmp_path: Path) -> None:
    path = gguf(tmp_path / "model.Q4.gguf")
    for given in (path, tmp_path):
        files = resolve(str(given))
        assert (files.kind, files.root, files.weight_files) == ("gguf", tmp_path, (path,))
        assert files.spec().vocab_size == 8


def test_a_folder_with_both_goes_by_the_load_format(tmp_path: Path) -> None:
    gguf(single(tmp_path) / "model.gguf")
    assert resolve(str(tmp_path)).kind == "safetensors"
    assert resolve(str(tmp_path), "safetensors").kind == "safetensors"
    assert resolve(str(tmp_path), "gguf").kind == "gguf"


def test_a_config_beside_a_gguf_file_does_not_hide_it(tmp_path: Path) -> None:
    gguf(tmp_path / "model.gguf")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert resolve(str(tmp_path)).kind == "gguf"


def test_a_home_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    single(tmp_path / "m")
    assert resolve("~/m").root == tmp_path / "m"


def test_a_path_that_does_not_exist() -> None:
    text = complaint("/no/such/model")
    assert "'/no/such/model' does not exist" in text
    assert "hub id" in text


def test_an_empty_folder(tmp_path: Path) -> None:
    text = complaint(tmp_path)
    assert "the folder is empty" in text
    assert "config.json is missing" in text
    assert "model.safetensors" in text


def test_everything_that_is_missing_is_listed_at_once(tmp_path: Path) -> None:
    sharded(tmp_path)
    (tmp_path / "config.json").unlink()
    (tmp_path / SHARDS[0]).unlink()
    (tmp_path / SHARDS[1]).write_bytes(b"\x40\x00")
    (tmp_path / "generation_config.json").write_text("{")
    text = complaint(tmp_path)
    assert "config.json is missing" in text
    assert f"{SHARDS[0]} is missing" in text
    assert f"{SHARDS[1]} is incomplete or damaged" in text
    assert "generation_config.json is not valid JSON" in text


def test_a_truncated_weight_file(tmp_path: Path) -> None:
    path = single(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert "model.safetensors is incomplete or damaged" in complaint(tmp_path)


def test_a_config_that_is_not_an_object(tmp_path: Path) -> None:
    (single(tmp_path) / "config.json").write_text("[]")
    assert "config.json is not a JSON object" in complaint(tmp_path)


@pytest.mark.parametrize("weight_map", [None, {}, [], {"w": "../elsewhere.safetensors"}, {"w": 3}, {"w": ".."}])
def test_an_index_without_a_usable_map(tmp_path: Path, weight_map: object) -> None:
    write_index(sharded(tmp_path), weight_map)
    assert "no usable 'weight_map'" in complaint(tmp_path)


@pytest.mark.parametrize("stated", [False, None])
def test_a_checkpoint_without_a_head_is_tied(tmp_path: Path, stated: bool | None) -> None:
    config = CONFIG if stated is None else {**CONFIG, "tie_word_embeddings": stated}
    (single(tmp_path) / "config.json").write_text(json.dumps(config))
    save_file({"model.embed_tokens.weight": np.zeros((8, 4), np.float32)}, tmp_path / "model.safetensors")
    assert resolve(str(tmp_path)).spec().tie_word_embeddings


def test_a_checkpoint_with_a_head_keeps_it(tmp_path: Path) -> None:
    names = ("model.embed_tokens.weight", "lm_head.weight")
    save_file({name: np.zeros((8, 4), np.float32) for name in names}, single(tmp_path) / "model.safetensors")
    assert not resolve(str(tmp_path)).spec().tie_word_embeddings


class TestDummy:
    def test_a_config_is_enough(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text(json.dumps(CONFIG))
        files = resolve(str(tmp_path), "dummy")
        assert (files.kind, files.weight_files) == ("dummy", ())
        assert files.spec().vocab_size == 8

    def test_weights_are_not_looked_at(self, tmp_path: Path) -> None:
        (single(tmp_path) / "model.safetensors").write_text("damaged")
        assert resolve(str(tmp_path), "dummy").kind == "dummy"

    def test_the_metadata_of_a_gguf_file_is_enough(self, tmp_path: Path) -> None:
        assert resolve(str(gguf(tmp_path / "m.gguf")), "dummy").kind == "dummy"

    def test_without_a_config(self, tmp_path: Path) -> None:
        assert "config.json is missing" in complaint(tmp_path, "dummy")


def test_shards_without_an_index(tmp_path: Path) -> None:
    (sharded(tmp_path) / "model.safetensors.index.json").unlink()
    text = complaint(tmp_path)
    assert "model.safetensors.index.json is missing" in text
    assert SHARDS[1] in text


def test_pickled_weights_are_not_loaded(tmp_path: Path) -> None:
    (single(tmp_path) / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    assert "convert the .bin weights" in complaint(tmp_path)


def test_several_gguf_files_need_a_choice(tmp_path: Path) -> None:
    gguf(tmp_path / "a.gguf")
    gguf(tmp_path / "b.gguf")
    text = complaint(tmp_path)
    assert "a.gguf, b.gguf" in text
    assert resolve(str(tmp_path / "b.gguf")).weight_files == (tmp_path / "b.gguf",)


def test_a_part_of_a_split_gguf(tmp_path: Path) -> None:
    assert "--merge" in complaint(gguf(tmp_path / "m-00001-of-00003.gguf"))


def test_a_format_that_is_not_there(tmp_path: Path) -> None:
    assert "holds no .gguf file" in complaint(single(tmp_path), "gguf")
    assert "--load-format auto" in complaint(gguf(tmp_path / "m.gguf"), "safetensors")


def test_a_weight_file_by_itself(tmp_path: Path) -> None:
    assert "give the folder that holds it" in complaint(single(tmp_path) / "model.safetensors")


def test_an_unknown_load_format(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--load-format"):
        resolve(str(tmp_path), "pickle")
