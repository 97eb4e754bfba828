"""A GGUF checkpoint reads like the Hugging Face checkpoint that it was made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter, dequantize, quantize

from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.weights.gguf import GgufSource

HEADS, KV_HEADS, HEAD_DIM, HIDDEN = 4, 2, 8, 32
CONFIG = {"model_type": "llama", "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS}
RNG = np.random.default_rng(0)

HF: dict[str, np.ndarray] = {
    name: RNG.standard_normal(shape).astype(np.float32)
    for name, shape in {
        "model.embed_tokens.weight": (6, HIDDEN),
        "model.layers.0.self_attn.q_proj.weight": (HEADS * HEAD_DIM, HIDDEN),
        "model.layers.0.self_attn.k_proj.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
        "model.layers.0.self_attn.k_proj.bias": (KV_HEADS * HEAD_DIM,),
        "model.layers.0.self_attn.v_proj.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
        "model.layers.0.self_attn.o_proj.weight": (HIDDEN, HEADS * HEAD_DIM),
        "model.layers.0.mlp.down_proj.weight": (HIDDEN, 64),
        "model.norm.weight": (HIDDEN,),
        "lm_head.weight": (6, HIDDEN),
    }.items()
}
GGUF_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.layers.0.self_attn.q_proj.weight": "blk.0.attn_q.weight",
    "model.layers.0.self_attn.k_proj.weight": "blk.0.attn_k.weight",
    "model.layers.0.self_attn.k_proj.bias": "blk.0.attn_k.bias",
    "model.layers.0.self_attn.v_proj.weight": "blk.0.attn_v.weight",
    "model.layers.0.self_attn.o_proj.weight": "blk.0.attn_output.weight",
    "model.layers.0.mlp.down_proj.weight": "blk.0.ffn_down.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def pairs_from_halves(values: np.ndarray, heads: int) -> np.ndarray:
    """What llama.cpp's converter does to q and k: row i and row d/2 + i of a head become neighbours."""
    rows = [
        head * HEAD_DIM + half * HEAD_DIM // 2 + i
        for head in range(heads)
        for i in range(HEAD_DIM // 2)
        for half in range(2)
    ]
    return values[rows]


def as_llama_cpp(name: str, values: np.ndarray) -> np.ndarray:
    if ".q_proj." in name:
        return pairs_from_halves(values, HEADS)
    if ".k_proj." in name:
        return pairs_from_halves(values, KV_HEADS)
    return values


def write(path: Path, tensors: dict[str, np.ndarray], kinds: dict[str, GGMLQuantizationType] | None = None) -> Path:
    writer = GGUFWriter(path, "llama")
    for name, values in tensors.items():
        kind = (kinds or {}).get(name)
        if kind is None:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_names_shapes_and_rows_are_those_of_hugging_face(tmp_path: Path) -> None:
    stored = {GGUF_NAMES[name]: as_llama_cpp(name, values) for name, values in HF.items()}
    source = GgufSource(write(tmp_path / "m.gguf", stored), CONFIG)
    assert source.names() == HF.keys()
    for name, values in HF.items():
        assert source.shape(name) == values.shape
        assert source.dtype(name) == np.float32
        np.testing.assert_array_equal(source.read(name), values)


def test_families_with_half_split_rotation_keep_their_rows(tmp_path: Path) -> None:
    name = "model.layers.0.self_attn.q_proj.weight"
    path = write(tmp_path / "m.gguf", {GGUF_NAMES[name]: HF[name]})
    source = GgufSource(path, {**CONFIG, "model_type": "qwen3"})
    np.testing.assert_array_equal(source.read(name), HF[name])


@pytest.mark.parametrize("kind", [GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q4_1, GGMLQuantizationType.F16])
def test_quantized_tensors_read_as_float32(tmp_path: Path, kind: GGMLQuantizationType) -> None:
    name = "model.layers.0.self_attn.k_proj.weight"
    stored = as_llama_cpp(name, HF[name])
    source = GgufSource(write(tmp_path / "m.gguf", {GGUF_NAMES[name]: stored}, {GGUF_NAMES[name]: kind}), CONFIG)
    rounded = dequantize(quantize(HF[name], kind), kind)
    read = source.read(name)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, rounded)


def test_unknown_tensors_keep_their_name(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.gguf", {"rope_freqs.weight": np.ones(4, np.float32), "blk.0.odd.weight": np.ones((2, 2))}
    )
    assert GgufSource(path, CONFIG).names() == {"rope_freqs.weight", "blk.0.odd.weight"}


def test_a_file_cut_off_inside_a_tensor(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", {"output_norm.weight": np.ones(64, np.float32)})
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ModelLoadError, match=r"cut off inside model\.norm\.weight"):
        GgufSource(path, CONFIG)


def test_a_type_newer_than_the_package(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", {"output_norm.weight": np.ones(64, np.float32)})
    raw = bytearray(path.read_bytes())
    at = raw.index(b"output_norm.weight") + len(b"output_norm.weight") + 4 + 8  # rank, one dimension
    raw[at : at + 4] = (9999).to_bytes(4, "little")
    path.write_bytes(raw)
    with pytest.raises(ModelLoadError, match="unknown GGML type 9999"):
        GgufSource(path, CONFIG)


def test_a_type_that_cannot_be_dequantized(tmp_path: Path) -> None:
    kind = GGMLQuantizationType.Q8_1
    values = np.zeros((1, GGML_QUANT_SIZES[kind][1]), np.uint8)
    writer = GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_tensor("output_norm.weight", values, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    source = GgufSource(tmp_path / "m.gguf", CONFIG)
    with pytest.raises(ModelLoadError, match="Q8_1"):
        source.read("model.norm.weight")
