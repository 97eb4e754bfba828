"""Checkpoints in forms of their own, seen under the names that recipes ask for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.weights.adapters import adapt
from sgl_jax.engine.weights.mxfp4 import dequantize
from tools.tiny_model import tiny_config

EXPERTS = "model.layers.0.mlp.experts"


class Memory:
    """A source over arrays."""

    def __init__(self, tensors: dict[str, np.ndarray]) -> None:
        self.tensors = tensors

    def names(self) -> frozenset[str]:
        return frozenset(self.tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name].shape

    def dtype(self, name: str) -> np.dtype[Any]:
        return self.tensors[name].dtype

    def read(self, name: str) -> np.ndarray:
        return self.tensors[name]

    def packing(self, name: str) -> None:
        return None


def spec_of(architecture: str, **fields: Any) -> ModelSpec:
    return ModelSpec.from_hf_config(tiny_config(architecture, tie=True, dtype="float32", **fields))


def adapted(architecture: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    source = adapt(Memory(tensors), spec_of(architecture))
    read = {name: source.read(name) for name in source.names()}
    for name, tensor in read.items():
        assert source.shape(name) == tensor.shape, name
        assert source.dtype(name) in (tensor.dtype, np.uint8), name
        assert source.packing(name) is None
    return read


def numbered(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def mxfp4_by_hand(block: np.ndarray, scale: int) -> list[float]:
    """The values of sixteen bytes, bit by bit."""
    values = []
    for code in [half for byte in block.tolist() for half in (byte & 15, byte >> 4)]:
        sign, exponent, mantissa = code >> 3, code >> 1 & 3, code & 1
        magnitude = mantissa / 2 if exponent == 0 else (1 + mantissa / 2) * 2.0 ** (exponent - 1)
        values.append((-1) ** sign * magnitude * 2.0 ** (scale - 127))
    return values


def test_most_families_are_read_as_they_are() -> None:
    source = Memory({})
    assert adapt(source, spec_of("LlamaForCausalLM")) is source


def test_gpt_oss_experts_are_taken_apart() -> None:
    gate_up, bias, down = numbered(6, 3, 10), numbered(6, 10), numbered(6, 5, 3)
    tensors = {"gate_up_proj": gate_up, "gate_up_proj_bias": bias, "down_proj": down, "down_proj_bias": numbered(6, 3)}
    read = adapted("GptOssForCausalLM", {f"{EXPERTS}.{name}": tensor for name, tensor in tensors.items()})
    assert len(read) == 6 * 6
    np.testing.assert_array_equal(read[f"{EXPERTS}.4.gate_proj.weight"], gate_up[4, :, [0, 2, 4, 6, 8]])
    np.testing.assert_array_equal(read[f"{EXPERTS}.4.up_proj.weight"], gate_up[4, :, [1, 3, 5, 7, 9]])
    np.testing.assert_array_equal(read[f"{EXPERTS}.0.gate_proj.bias"], bias[0, ::2])
    np.testing.assert_array_equal(read[f"{EXPERTS}.0.up_proj.bias"], bias[0, 1::2])
    np.testing.assert_array_equal(read[f"{EXPERTS}.5.down_proj.weight"], down[5].T)
    assert read[f"{EXPERTS}.5.down_proj.bias"].tolist() == [15, 16, 17]


def test_gpt_oss_experts_packed_as_mxfp4() -> None:
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (6, 10, 2, 16), np.uint8)
    scales = rng.integers(110, 140, (6, 10, 2), np.uint8)
    names = [f"{EXPERTS}.{kind}_proj_{part}" for kind in ("gate_up", "down") for part in ("blocks", "scales")]
    read = adapted("GptOssForCausalLM", dict(zip(names, [blocks, scales, blocks, scales], strict=True)))
    assert len(read) == 6 * 3
    for part, rows in {"gate_proj": [0, 2, 4, 6, 8], "up_proj": [1, 3, 5, 7, 9], "down_proj": range(10)}.items():
        for row, stored in enumerate(rows):
            first, second = (mxfp4_by_hand(blocks[2, stored, group], int(scales[2, stored, group])) for group in (0, 1))
            assert read[f"{EXPERTS}.2.{part}.weight"][row].tolist() == first + second


@pytest.mark.parametrize(
    "stored",
    [
        {"down_proj": (5, 5, 3)},
        {"down_proj": (6, 5)},
        {"down_proj_blocks": (5, 10, 2, 16), "down_proj_scales": (5, 10, 2)},
        {"down_proj_blocks": (6, 10, 32), "down_proj_scales": (6, 10, 2)},
    ],
    ids=["too few", "misshapen", "too few packed", "misshapen packed"],
)
def test_experts_that_a_checkpoint_does_not_hold(stored: dict[str, tuple[int, ...]]) -> None:
    tensors = {f"{EXPERTS}.{name}": np.zeros(shape, np.uint8) for name, shape in stored.items()}
    source = adapt(Memory(tensors), spec_of("GptOssForCausalLM"))
    with pytest.raises(ModelLoadError, match=r"do not fit config\.json: .*down_proj.* holds no .*\.down_proj\.weight"):
        _ = [source.shape(name) for name in source.names()]


def test_mxfp4_of_one_byte() -> None:
    blocks, scales = np.zeros((1, 1, 16), np.uint8), np.asarray([[128]], np.uint8)
    blocks[0, 0, :2] = 0x72, 0xF1  # 2 = 1.0, 7 = 6.0; 1 = 0.5, 15 = -6.0, all doubled
    assert dequantize(blocks, scales)[0, :4].tolist() == [2.0, 12.0, 1.0, -12.0]


@pytest.mark.parametrize("prefix", ["language_model.model.", "model.language_model."])
def test_gemma3_is_read_without_its_eyes(prefix: str) -> None:
    eyes = "model.vision_tower.x" if prefix.startswith("model.") else "vision_tower.x"
    tensors = {f"{prefix}norm.weight": numbered(2), eyes: numbered(1), "multi_modal_projector.y": numbered(1)}
    read = adapted("Gemma3ForConditionalGeneration", {**tensors, "stray": numbered(1)})
    assert read.keys() == {"model.norm.weight", "stray"}  # the loader will complain of the latter


def test_deepseek_latents_are_multiplied_by_two_parts() -> None:
    attention = "model.layers.2.self_attn"
    stored = numbered(4 * (24 + 20), 32)
    tensors = {f"{attention}.kv_b_proj.weight": stored, f"{attention}.o_proj.weight": numbered(2)}
    read = adapted("DeepseekV3ForCausalLM", {**tensors, "model.layers.3.eh_proj.weight": numbered(1)})
    assert read.keys() == {f"{attention}.k_up", f"{attention}.v_up", f"{attention}.o_proj.weight"}
    by_head = stored.reshape(4, 44, 32)
    np.testing.assert_array_equal(read[f"{attention}.k_up"], by_head[:, :24])
    np.testing.assert_array_equal(read[f"{attention}.v_up"], by_head[:, 24:])


@pytest.mark.parametrize(("architecture", "method"), [("GptOssForCausalLM", "gptq"), ("DeepseekV3ForCausalLM", "fp8")])
def test_other_quantized_checkpoints_are_refused(architecture: str, method: str) -> None:
    spec = spec_of(architecture, quantization_config={"quant_method": method})
    with pytest.raises(ModelLoadError, match=rf"{method}.*unquantized"):
        adapt(Memory({}), spec)
