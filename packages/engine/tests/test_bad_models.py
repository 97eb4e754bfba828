"""Every bad model folder ends in one clear error, whichever way it is bad, and before anything is compiled."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sgl_jax.engine.engine import Engine
from sgl_jax.engine.errors import ChatTemplateError, ModelLoadError
from sgl_jax.engine.sampling_params import SamplingParams
from tools.tiny_model import make_tiny_model

Damage = Callable[[Path], object]
LIMITS = {"device": "cpu", "max_total_tokens": 128, "max_running_requests": 1, "skip_warmup": True}
SHARD = "model-00001-of-00002.safetensors"
INDEX = "model.safetensors.index.json"
HOSTILE = "{% for i in range(10**9) %}{% for j in range(10**9) %}x{% endfor %}{% endfor %}"


@pytest.fixture(scope="module")
def sharded_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("sharded"), seed=1, shards=2)


def write(name: str, text: str | bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def remove(*names: str) -> Damage:
    return lambda folder: [(folder / name).unlink() for name in names]


def config(**fields: Any) -> Damage:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change


def index(change: Callable[[dict[str, str]], dict[str, Any]]) -> Damage:
    def write_back(folder: Path) -> None:
        weight_map = json.loads((folder / INDEX).read_text())["weight_map"]
        (folder / INDEX).write_text(json.dumps({"weight_map": change(weight_map)}))

    return write_back


def tensors(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Damage:
    def write_back(folder: Path) -> None:
        path = folder / "model.safetensors"
        save_file(change(load_file(path)), path)

    return write_back


def cut(name: str, keep: float) -> Damage:
    def shorten(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * keep)])

    return shorten


def without(name: str) -> Damage:
    return tensors(lambda found: {key: value for key, value in found.items() if key != name})


NORM = "model.norm.weight"
WHOLE: dict[str, tuple[Damage, str]] = {
    "nothing at all": (lambda folder: [path.unlink() for path in folder.iterdir()], "the folder is empty"),
    "no config": (remove("config.json"), "config.json is missing"),
    "an empty config": (write("config.json", ""), "config.json is not valid JSON"),
    "a config that is no JSON": (write("config.json", "{'a': 1}"), "config.json is not valid JSON"),
    "a config in no encoding": (write("config.json", b"\xff\xfe\xfa"), "config.json is not valid JSON"),
    "a config nested for ever": (write("config.json", "[" * 100_000), "config.json is not valid JSON"),
    "a config that is a list": (write("config.json", "[]"), "config.json is not a JSON object"),
    "a config without architectures": (config(architectures=None), "no 'architectures'"),
    "an unknown architecture": (config(architectures=["MambaForCausalLM"]), "'MambaForCausalLM' is not supported"),
    "no layers": (config(num_hidden_layers=0), "'num_hidden_layers' must be a positive integer"),
    "a billion layers": (config(num_hidden_layers=10**9), "num_layers must lie between 1 and"),
    "a size that is a text": (config(hidden_size="64"), "'hidden_size' must be a positive integer"),
    "a vocabulary beyond all bounds": (config(vocab_size=10**15), "vocab_size must lie between 1 and"),
    "negative heads": (config(head_dim=-16), "head_dim must lie between 1 and"),
    "an infinite length": (config(max_position_embeddings=float("inf")), "a field of the wrong type"),
    "an activation nobody knows": (config(hidden_act="sinus"), "sinus"),
    "a rope scaling nobody knows": (config(rope_scaling={"rope_type": "knot"}), "knot"),
    "a rope scaling that is a list": (config(rope_scaling=[1]), "'rope_scaling' must be an object"),
    "a rope scaling without its factor": (config(rope_scaling={"rope_type": "llama3"}), "factor"),
    "another width in the config": (config(hidden_size=128), r"model.norm.weight: got \[64\], expected \[128\]"),
    "more layers in the config": (config(num_hidden_layers=5), "missing:\n- model.layers.3.input_layernorm.weight"),
    "fewer layers in the config": (config(num_hidden_layers=2), "not part of this architecture:\n- model.layers.2."),
    "no weights": (remove("model.safetensors"), "model.safetensors .* is missing"),
    "half of the weights": (cut("model.safetensors", 0.5), "model.safetensors is incomplete or damaged"),
    "all but a byte": (cut("model.safetensors", 0.99999), "model.safetensors is incomplete or damaged"),
    "weights of seven bytes": (write("model.safetensors", b"1234567"), "incomplete or damaged"),
    "an absurd header": (write("model.safetensors", b"\xff" * 64), "incomplete or damaged"),
    "a header that is no JSON": (write("model.safetensors", (8).to_bytes(8, "little") + b"notjson!"), "or damaged"),
    "a header nested for ever": (
        write("model.safetensors", (99_999).to_bytes(8, "little") + b"[" * 99_999),
        "incomplete or damaged",
    ),
    "a page of HTML": (write("model.safetensors", "<!DOCTYPE html><html>Sign in</html>" * 9), "incomplete or damaged"),
    "a missing tensor": (without(NORM), f"missing:\n- {NORM}"),
    "a misshapen tensor": (tensors(lambda found: found | {NORM: np.ones(3, np.float32)}), f"{NORM}: got"),
    "a scalar": (tensors(lambda found: found | {NORM: np.array(1, np.float32)}), f"{NORM}: got"),
    "a surplus tensor": (tensors(lambda found: found | {"x.y": np.ones(3, np.float32)}), "architecture:\n- x.y"),
    "no tokenizer": (remove("tokenizer.json"), "No tokenizer.json"),
    "half a tokenizer": (cut("tokenizer.json", 0.5), "Cannot read .*tokenizer.json"),
    "a tokenizer of nothing": (write("tokenizer.json", "{}"), "Cannot read .*tokenizer.json"),
    "a tokenizer of another kind": (write("tokenizer.json", '{"model": {"type": "Rune"}}'), "Cannot read"),
    "a tokenizer config nested for ever": (write("tokenizer_config.json", "[" * 100_000), "Cannot read"),
    "a tokenizer config that is no JSON": (write("tokenizer_config.json", "{"), "Cannot read .*tokenizer_config.json"),
    "a template that is no Jinja": (write("chat_template.jinja", "{% if %}"), "not valid Jinja"),
    "a template that is too deep": (write("chat_template.jinja", "{{ " + "(" * 9999), "chat template"),
    "a template that is too long": (write("chat_template.jinja", "x" * 10**6), "characters"),
}
SHARDED: dict[str, tuple[Damage, str]] = {
    "a missing shard": (remove(SHARD), f"{SHARD} is missing"),
    "no shard at all": (remove(SHARD, SHARD.replace("00001", "00002", 1)), f"{SHARD} is missing"),
    "half a shard": (cut(SHARD, 0.5), f"{SHARD} is incomplete or damaged"),
    "no index": (remove(INDEX), f"{INDEX} is missing"),
    "an index that is no JSON": (write(INDEX, "shards"), f"{INDEX} is not valid JSON"),
    "an index of nothing": (write(INDEX, "{}"), "no usable 'weight_map'"),
    "an index that leads outside": (
        index(lambda files: files | {"w": "../../w.safetensors"}),
        "no usable 'weight_map'",
    ),
    "an index that leads to the root": (index(lambda files: files | {"w": "/etc/passwd"}), "no usable 'weight_map'"),
    "an index of numbers": (index(lambda files: dict.fromkeys(files, 1)), "no usable 'weight_map'"),
    "an index with a pickle": (index(lambda files: files | {"w": "w.bin"}), "w.bin is missing"),
    "an index with half of the shards": (index(lambda files: dict.fromkeys(files, SHARD)), "missing:\n- "),
    "a shard twice": (
        lambda folder: shutil.copy(folder / SHARD, folder / SHARD.replace("00001", "00002", 1)),
        "another shard holds too",
    ),
}


def spoilt(good: Path, folder: Path, damage: Damage) -> Path:
    shutil.copytree(good, folder, dirs_exist_ok=True)
    damage(folder)
    return folder


def complaint(folder: Path) -> None:
    with Engine(folder, **LIMITS):
        pass


@pytest.mark.parametrize("how", WHOLE)
def test_a_bad_folder(tiny_folder: Path, tmp_path: Path, how: str) -> None:
    damage, expected = WHOLE[how]
    with pytest.raises(ModelLoadError, match=expected):
        complaint(spoilt(tiny_folder, tmp_path, damage))


@pytest.mark.parametrize("how", SHARDED)
def test_a_bad_sharded_folder(sharded_folder: Path, tmp_path: Path, how: str) -> None:
    damage, expected = SHARDED[how]
    with pytest.raises(ModelLoadError, match=expected):
        complaint(spoilt(sharded_folder, tmp_path, damage))


def test_a_hostile_template_refuses_its_conversations_and_nothing_else(tiny_folder: Path, tmp_path: Path) -> None:
    with Engine(spoilt(tiny_folder, tmp_path, write("chat_template.jinja", HOSTILE)), **LIMITS) as engine:
        with pytest.raises(ChatTemplateError, match="steps"):
            engine.chat([{"role": "user", "content": "Hi"}])
        assert engine.generate("Hi", SamplingParams(max_new_tokens=2, ignore_eos=True))[0].token_ids


@pytest.mark.parametrize(
    ("damage", "flags", "expected"),
    [
        (cut("model.safetensors", 0.5), [], "model.safetensors is incomplete or damaged"),
        (write("chat_template.jinja", HOSTILE), ["--chat", "--device=fake"], "more than 500000 steps"),
    ],
    ids=["weights", "template"],
)
def test_the_command_says_it_in_one_line_and_fails(
    tiny_folder: Path, tmp_path: Path, damage: Damage, flags: list[str], expected: str
) -> None:
    folder = spoilt(tiny_folder, tmp_path, damage)
    command = [sys.executable, "-m", "sgl_jax.engine", str(folder), "Hi", "--device=cpu", "--max-seq-len=64", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("error:") == 1
    assert expected in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
