"""The GGUF file that llama.cpp would make of a model is the same model, for every family that is read from GGUF.

What is compared is all that the step gets of a checkpoint: its parameters, and what the config says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import msgspec
import numpy as np
import pytest

from sgl_jax.engine.config.gguf_spec import FAMILIES
from sgl_jax.engine.config.model_files import resolve
from sgl_jax.engine.models.base import Template
from sgl_jax.engine.models.registry import model_class
from sgl_jax.engine.text.tokenizer import Tokenizer
from sgl_jax.engine.weights.loader import load_params
from sgl_jax.engine.weights.names import LayerShapes, decoder_recipes
from sgl_jax.engine.weights.source import open_source
from tools.tiny_gguf import ARCHITECTURES, write_tiny_gguf
from tools.tiny_model import make_tiny_model

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
LONGROPE = {
    "rope_type": "longrope",
    "long_factor": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
# A file says nothing of `query_pre_attn_scalar`: all sizes but the largest have that of their head.
CASES: list[tuple[str, dict[str, Any]]] = [
    ("LlamaForCausalLM", {}),
    ("LlamaForCausalLM", {"tie": True, "head_dim": 32, "attention_bias": False}),
    ("LlamaForCausalLM", {"rope_scaling": LLAMA3, "rope_theta": 500000.0, "head_dim": 64}),
    ("Qwen2ForCausalLM", {"tie": True}),
    ("Qwen3ForCausalLM", {"rope_scaling": YARN}),
    ("GemmaForCausalLM", {"tie": True}),
    ("Gemma2ForCausalLM", {"tie": True, "query_pre_attn_scalar": 16}),
    ("Gemma3ForCausalLM", {"tie": True, "query_pre_attn_scalar": 16}),
    ("Phi3ForCausalLM", {"sliding_window": 24}),
    ("Phi3ForCausalLM", {"rope_scaling": LONGROPE, "original_max_position_embeddings": 128}),
]


def loaded(path: Path) -> tuple[Any, tuple[Any, ...], dict[str, np.ndarray]]:
    """What the config says, the rules that follow from it, and the parameters."""
    files = resolve(str(path))
    spec = files.spec()
    family = model_class(spec.architecture)
    dtype = jnp.dtype(jnp.float32)
    ends, layer = Template(lambda: family(spec, dtype=dtype)), Template(lambda: family.Layer(spec, dtype=dtype))
    shapes = [{name: leaf.shape for name, leaf in part.leaves.items()} for part in (ends, layer)]
    recipes = decoder_recipes(shapes[0], [LayerShapes(shapes[1], spec.num_layers)], fused=family.FUSED, stacked=True)
    params = load_params(open_source(files), recipes, np.float32, place=lambda name, array: array)
    attention = family.Layer(spec, dtype=dtype).self_attn
    rules = (
        family.layer_kinds(spec),
        attention.scale,
        attention.softcap,
        getattr(family(spec, dtype=dtype), "logit_softcap", None),
    )
    return spec, (*rules, family.ropes(spec, 512)), params


def test_every_family_is_converted_here() -> None:
    assert {family.architecture for family in FAMILIES.values()} == ARCHITECTURES.keys() == {name for name, _ in CASES}


@pytest.mark.parametrize(("architecture", "options"), CASES)
def test_the_same_model(tmp_path: Path, architecture: str, options: dict[str, Any]) -> None:
    folder = make_tiny_model(tmp_path / "hf", architecture, seed=3, **options)
    path = write_tiny_gguf(folder, tmp_path / "model.gguf")
    expected_spec, (*expected_rules, expected_ropes), expected = loaded(folder)
    spec, (*rules, ropes), params = loaded(path)

    assert spec.eos_token_ids == (*expected_spec.eos_token_ids, 0), "<|endoftext|> ends a sequence too"
    same = {"raw": {}, "rope": None, "norm_eps": 0.0, "eos_token_ids": (), "attention_bias": False}
    assert msgspec.structs.replace(spec, **same) == msgspec.structs.replace(expected_spec, **same)
    assert spec.norm_eps == pytest.approx(expected_spec.norm_eps, rel=1e-6)
    assert rules == expected_rules
    for rope, expected_rope in zip(ropes, expected_ropes, strict=True):
        np.testing.assert_allclose(rope.frequencies, expected_rope.frequencies, rtol=2e-6)
        assert rope.magnitude == pytest.approx(expected_rope.magnitude, rel=1e-6)
        assert rope.growth == expected_rope.growth
    assert params.keys() == expected.keys()
    for name, values in expected.items():
        if "norm" in name:  # Gemma's have made the way over 1 + w
            np.testing.assert_allclose(params[name], values, rtol=0, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(params[name], values, err_msg=name)

    ours, theirs = Tokenizer.from_path(path), Tokenizer.from_path(folder)
    text = "<|im_start|>user\nThe scheduler's 42 pages<|im_end|>"
    assert ours.encode(text) == theirs.encode(text)
    assert (ours.chat_template, ours.special_token_ids) == (theirs.chat_template, theirs.special_token_ids)
