"""Weights read by us are what the formats' own packages read, in Hugging Face's layout."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors import safe_open

from sgl_jax.engine.config.model_files import resolve
from sgl_jax.engine.weights.source import open_source


def hugging_face_form(tensor: gguf.ReaderTensor, heads: int, kv_heads: int) -> np.ndarray:
    """The dequantised tensor, with the rows of q and k gathered one by one."""
    values = gguf.dequantize(tensor.data, tensor.tensor_type)
    count = heads if ".attn_q." in tensor.name else kv_heads if ".attn_k." in tensor.name else 0
    if not count:
        return values
    head_dim = len(values) // count
    # Row i of a head lies at 2 i in its first half, and at 2 (i - d/2) + 1 in its second.
    order = [2 * i if i < head_dim // 2 else 2 * (i - head_dim // 2) + 1 for i in range(head_dim)]
    return values[[head * head_dim + row for head in range(count) for row in order]]


@pytest.mark.model
def test_smollm2_equals_the_gguf_package(smollm2_path: Path, smollm2_golden: dict[str, Any]) -> None:
    assert hashlib.sha256(smollm2_path.read_bytes()).hexdigest() == smollm2_golden["model"]["sha256"]
    files = resolve(str(smollm2_path))
    source, spec = open_source(files), files.spec()
    names = {
        "token_embd.weight": "model.embed_tokens.weight",
        "output_norm.weight": "model.norm.weight",
        "blk.0.attn_q.weight": "model.layers.0.self_attn.q_proj.weight",
        "blk.7.attn_k.weight": "model.layers.7.self_attn.k_proj.weight",
        "blk.7.attn_v.weight": "model.layers.7.self_attn.v_proj.weight",
        "blk.12.attn_output.weight": "model.layers.12.self_attn.o_proj.weight",
        "blk.12.attn_norm.weight": "model.layers.12.input_layernorm.weight",
        "blk.20.ffn_norm.weight": "model.layers.20.post_attention_layernorm.weight",
        "blk.20.ffn_gate.weight": "model.layers.20.mlp.gate_proj.weight",
        "blk.29.ffn_up.weight": "model.layers.29.mlp.up_proj.weight",
        "blk.29.ffn_down.weight": "model.layers.29.mlp.down_proj.weight",
    }
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(smollm2_path).tensors}
    assert len(source.names()) == len(tensors) == 2 + 9 * spec.num_layers
    for gguf_name, name in names.items():
        expected = hugging_face_form(tensors[gguf_name], spec.num_heads, spec.num_kv_heads)
        np.testing.assert_array_equal(source.read(name), expected, err_msg=name)


def test_a_tiny_model_reads_as_written(tiny_folder: Path) -> None:
    files = resolve(str(tiny_folder))
    source = open_source(files)
    stored = dict(_stored(files.weight_files))
    assert source.names() == stored.keys()
    for name, expected in stored.items():
        np.testing.assert_array_equal(source.read(name), expected, err_msg=name)


def _stored(paths: tuple[Path, ...]) -> Iterator[tuple[str, np.ndarray]]:
    for path in paths:
        with safe_open(path, framework="np") as file:
            yield from ((name, file.get_tensor(name)) for name in file.keys())  # noqa: SIM118
