"""Packed models say what their own unpacked weights say, and hold no more than they say they do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import gguf
import jax.numpy as jnp
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from safetensors.numpy import load_file, save_file

from sgl_jax.engine.attention import backends
from sgl_jax.engine.completion import Completion
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.config.model_files import resolve
from sgl_jax.engine.engine import Engine
from sgl_jax.engine.errors import ConfigError
from sgl_jax.engine.execution import build
from sgl_jax.engine.execution.devices import find_device
from sgl_jax.engine.execution.load import _settle, load_model
from sgl_jax.engine.quantization.formats import GROUP, ON_LOAD, PackFormat
from sgl_jax.engine.quantization.matrix import unpack
from sgl_jax.engine.quantization.pack import pack
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.engine.weights.loader import ParamRecipe
from tools.tiny_gguf import write_tiny_gguf
from tools.tiny_model import make_tiny_model

TOLERANCE = 2e-2
PROMPTS = [np.random.default_rng(5).integers(20, 400, length).tolist() for length in (40, 7)]
OPTIONS = {
    "dtype": "float32",
    "max_running_requests": 2,
    "max_total_tokens": 256,
    "max_seq_len": 128,
    "skip_warmup": True,
    "precompile_bs_paddings": (2,),
    "precompile_token_paddings": (64,),
}


def answers(path: Path, quantization: str) -> list[Completion]:
    sampling = SamplingParams(temperature=0, max_new_tokens=12, ignore_eos=True, logprobs=5)
    with Engine(path, quantization=quantization, **OPTIONS) as engine:
        return engine.generate(prompt_ids=PROMPTS, sampling=sampling)


def assert_close(found: Sequence[Completion], expected: Sequence[Completion]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.token_ids == theirs.token_ids
        for token, reference in zip(ours.logprobs, theirs.logprobs, strict=True):
            assert token.logprob == pytest.approx(reference.logprob, abs=TOLERANCE)
            np.testing.assert_allclose(
                [logprob for _, logprob in token.top], [logprob for _, logprob in reference.top], atol=TOLERANCE
            )


def rounded(folder: Path, target: Path, form: PackFormat) -> Path:
    """The checkpoint with the matrices of its layers rounded as packing rounds them."""
    target.mkdir()
    for file in folder.iterdir():
        if file.suffix == ".json":
            (target / file.name).write_bytes(file.read_bytes())
    tensors = load_file(folder / "model.safetensors")
    for name, values in tensors.items():
        small = values.ndim < 2 or values.shape[-2] < 16 or name.endswith(".mlp.gate.weight")
        if name.startswith("model.layers.") and not small:
            parts = {part: jnp.asarray(array) for part, array in pack(values, form).items()}
            tensors[name] = np.array(unpack(parts, form))
    save_file(tensors, target / "model.safetensors")
    return target


@pytest.fixture(scope="module")
def tied_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of most tests here: its unpacked program is compiled once."""
    return make_tiny_model(tmp_path_factory.mktemp("tied"), seed=1, tie=True)


def test_layers_packed_as_int4(tied_folder: Path, tmp_path: Path) -> None:
    reference = rounded(tied_folder, tmp_path / "rounded", ON_LOAD["int4"])
    assert_close(answers(tied_folder, "int4"), answers(reference, "none"))


def test_layers_and_experts_packed_as_int8(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "plain", "Qwen3MoeForCausalLM", seed=2, num_hidden_layers=2)
    reference = rounded(folder, tmp_path / "rounded", ON_LOAD["int8"])
    assert_close(answers(folder, "int8"), answers(reference, "none"))


MIXED = {"attn_v": Kind.Q4_0, "attn_output": Kind.Q8_0, "ffn_down": Kind.Q5_0, "token_embd": Kind.Q8_0}


def mixed_kind(name: str) -> Kind:
    """As real files mix them: one matrix in two forms that go together, one that cannot stay packed."""
    return next((kind for part, kind in MIXED.items() if part in name), Kind.Q4_1)


@pytest.fixture(scope="module")
def packed_file(tied_folder: Path) -> Path:
    """Of a tied model, so that the embedding is the output head too."""
    return write_tiny_gguf(tied_folder, tied_folder / "packed.gguf", mixed_kind)


def test_a_gguf_file_is_the_folder_it_was_made_from(tied_folder: Path, tmp_path: Path) -> None:
    found = answers(write_tiny_gguf(tied_folder, tmp_path / "plain.gguf"), "auto")
    for ours, theirs in zip(found, answers(tied_folder, "auto"), strict=True):
        assert ours.token_ids == theirs.token_ids
        assert [token.logprob for token in ours.logprobs] == [token.logprob for token in theirs.logprobs]


def test_a_packed_file_is_its_unpacked_self(packed_file: Path) -> None:
    assert_close(answers(packed_file, "gguf"), answers(packed_file, "none"))


def load(path: Path, quantization: str, **options: str) -> tuple[int, str, dict[str, int]]:
    """Bytes on the device, what the log says of them, and the bytes of each leaf."""
    files = resolve(str(path), options.get("load_format", "auto"))
    config, spec = EngineConfig(model_path=str(path), quantization=quantization, **options), files.spec()
    dtype, device = jnp.dtype(config.dtype if config.dtype != "auto" else "float32"), find_device("cpu")
    model = build.step_model(config, spec, dtype, 128, backends.XLA, on_cpu=True)
    model, params, words = load_model(
        model, files, spec, quantization, dtype, device, free_bytes=1 << 40, on_progress=lambda done, total: None
    )
    names = list(model.ends.leaves)
    for run in model.runs:
        names += list(run.layer.leaves) * (1 if model.stacked else run.length)
    for name, leaf in zip(names, params, strict=True):
        described = {**model.ends.leaves, **model.runs[0].layer.leaves}[name]
        assert leaf.dtype == described.dtype, name
        assert leaf.shape[-len(described.shape) :] == described.shape, name
    sizes: dict[str, int] = {}
    for name, leaf in zip(names, params, strict=True):
        sizes[name] = sizes.get(name, 0) + leaf.nbytes
    return sum(sizes.values()), words, sizes


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])  # stacked and unrolled
@pytest.mark.parametrize(("quantization", "bits"), [("int8", 8), ("fp8", 8), ("int4", 5)])
def test_bytes_on_the_device(tiny_folder: Path, quantization: str, bits: int, dtype: str) -> None:
    width = jnp.dtype(dtype).itemsize
    tensors = load_file(tiny_folder / "model.safetensors")
    matrices = {name for name, values in tensors.items() if name.startswith("model.layers.") and values.ndim == 2}
    packed = sum(tensors[name].size * bits / 8 for name in matrices)
    plain = sum(values.size * width for name, values in tensors.items() if name not in matrices)
    total, words, _ = load(tiny_folder, quantization, dtype=dtype)
    assert packed + plain <= total <= 1.1 * packed + plain
    assert f"packed as {ON_LOAD[quantization].name}" in words


@pytest.mark.parametrize("load_format", ["auto", "dummy"])
def test_made_up_weights_take_the_same_bytes(tiny_folder: Path, load_format: str) -> None:
    assert load(tiny_folder, "int4", load_format=load_format)[2] == load(tiny_folder, "int4")[2]


def test_bytes_of_a_gguf_file(packed_file: Path) -> None:
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(packed_file).tensors}
    stays = {name for name, tensor in tensors.items() if tensor.tensor_type.name in ("Q8_0", "Q4_0", "Q4_1")}
    packed = sum(int(tensors[name].n_bytes) for name in stays)
    plain = sum(int(tensor.n_elements) * 4 for name, tensor in tensors.items() if name not in stays)
    total, words, sizes = load(packed_file, "auto")
    assert total <= 1.1 * packed + plain
    assert "packed as q4_1 and q8_0" in words
    assert {name.rpartition(".")[0] for name in sizes if name.endswith(".codes")} == {
        "embed_tokens.weight",
        "self_attn.qkv_proj.weight",
        "self_attn.o_proj.weight",
        "mlp.gate_up_proj.weight",
    }
    unpacked, words, _ = load(packed_file, "none")
    assert unpacked == sum(int(tensor.n_elements) * 4 for tensor in tensors.values())
    assert "packed" not in words


def test_rows_of_broken_groups_stay_plain(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path, seed=1, hidden_size=48, intermediate_size=3 * GROUP)
    _, _, sizes = load(folder, "int4")
    assert {name.rpartition(".")[0] for name in sizes if name.endswith(".codes")} == {
        "self_attn.o_proj.weight",
        "mlp.down_proj.weight",
    }
    assert math.prod((3, 48)) * 4 == sizes["input_layernorm.weight"]


def test_a_file_that_has_no_packing(tiny_folder: Path) -> None:
    with pytest.raises(ConfigError, match="these weights are no"):
        load(tiny_folder, "gguf")


def test_room_decides_on_a_gpu() -> None:
    recipes = {"w": ParamRecipe((("w",),), (1000, 1000))}
    bfloat16 = jnp.dtype(jnp.bfloat16)
    assert _settle("auto", "gguf", recipes, bfloat16, "cpu", 1 << 40) == "gguf"
    assert _settle("auto", "gguf", recipes, bfloat16, "gpu", 5_000_000) == "none"
    assert _settle("auto", "gguf", recipes, bfloat16, "gpu", 3_000_000) == "gguf"
    assert _settle("auto", "safetensors", recipes, bfloat16, "gpu", 3_000_000) == "none"
    assert _settle("int4", "gguf", recipes, bfloat16, "cpu", 0) == "int4"
