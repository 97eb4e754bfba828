"""Families with experts or latents: which layers have them, what their configs mean, and what they refuse."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.execution import kv_pool
from sgl_jax.engine.models.base import LayerKind
from sgl_jax.engine.models.registry import model_class
from tools.tiny_model import tiny_config

FLOAT32 = jnp.dtype(jnp.float32)


def spec_of(architecture, **fields):
    return ModelSpec.from_hf_config(tiny_config(architecture, tie=False, dtype="float32", **fields))


@pytest.mark.parametrize(
    ("architecture", "fields", "sparse"),
    [
        ("MixtralForCausalLM", {}, [1, 1, 1, 1]),
        ("GptOssForCausalLM", {}, [1, 1, 1, 1]),
        ("Qwen2MoeForCausalLM", {"decoder_sparse_step": 2}, [0, 1, 0, 1]),
        ("Qwen3MoeForCausalLM", {"mlp_only_layers": [0, 3]}, [0, 1, 1, 0]),
        ("Qwen3MoeForCausalLM", {"mlp_only_layers": None}, [1, 1, 1, 1]),
        ("DeepseekV3ForCausalLM", {"first_k_dense_replace": 3}, [0, 0, 0, 1]),
        ("DeepseekV3ForCausalLM", {"first_k_dense_replace": 9}, [0, 0, 0, 0]),
    ],
)
def test_layers_with_experts(architecture, fields, sparse):
    family = model_class(architecture)
    layers = family.layers(spec_of(architecture, num_hidden_layers=4, **fields))
    assert [int(layer is family.Layer) for layer in layers] == sparse


@pytest.mark.parametrize(
    ("architecture", "fields", "windows"),
    [
        ("MixtralForCausalLM", {}, [None] * 4),
        ("MixtralForCausalLM", {"sliding_window": 8}, [8] * 4),
        ("Qwen2MoeForCausalLM", {"sliding_window": 8, "max_window_layers": 3}, [None] * 4),
        (
            "Qwen2MoeForCausalLM",
            {"sliding_window": 8, "max_window_layers": 3, "use_sliding_window": True},
            [8, None, 8, None],
        ),
        ("Qwen3MoeForCausalLM", {"sliding_window": 8}, [None] * 4),
        ("Qwen3MoeForCausalLM", {"sliding_window": 8, "use_sliding_window": True}, [8] * 4),
        ("GptOssForCausalLM", {"sliding_window": 8}, [8, None, 8, None]),
    ],
)
def test_windows(architecture, fields, windows):
    kinds = model_class(architecture).layer_kinds(spec_of(architecture, num_hidden_layers=4, **fields))
    assert kinds == tuple(LayerKind(window) for window in windows)


@pytest.mark.parametrize(
    ("architecture", "fields", "message"),
    [
        ("MixtralForCausalLM", {"num_local_experts": 0}, "num_local_experts"),
        ("MixtralForCausalLM", {"num_experts_per_tok": 7}, "num_experts_per_tok.*6 experts"),
        ("Qwen2MoeForCausalLM", {"shared_expert_intermediate_size": None}, "shared_expert_intermediate_size"),
        ("Qwen3MoeForCausalLM", {"moe_intermediate_size": "wide"}, "moe_intermediate_size"),
        ("DeepseekV3ForCausalLM", {"n_group": 3}, "n_group"),
        ("DeepseekV3ForCausalLM", {"topk_group": 1}, "topk_group"),
        ("DeepseekV3ForCausalLM", {"v_head_dim": None}, "v_head_dim"),
    ],
)
def test_bad_configs_name_the_field(architecture, fields, message):
    with pytest.raises(ModelLoadError, match=message):
        model_class(architecture).Layer(spec_of(architecture, **fields), dtype=FLOAT32)


def test_a_text_part_is_read_with_what_stands_around_it():
    text = {"hidden_size": 2560, "num_hidden_layers": 34, "sliding_window": 1024, "eos_token_id": 1, "vision": None}
    around = {"architectures": ["Gemma3ForConditionalGeneration"], "eos_token_id": [1, 106], "boi_token_index": 5}
    spec = ModelSpec.from_hf_config({**around, "text_config": text})
    assert (spec.hidden_size, spec.num_layers, spec.vocab_size) == (2560, 34, 262_208)
    assert (spec.num_heads, spec.num_kv_heads, spec.head_dim) == (8, 4, 256)
    assert spec.eos_token_ids == (1, 106)
    assert spec.raw["sliding_window"] == 1024


def test_silent_gpt_oss_configs_mean_yarn():
    silent = tiny_config("GptOssForCausalLM", tie=False, dtype="float32")
    for field in ("rope_scaling", "rope_theta", "swiglu_limit"):
        del silent[field]
    spec = ModelSpec.from_hf_config(silent)
    assert spec.rope.scaling is not None
    assert (spec.rope.scaling["factor"], spec.rope.theta, spec.raw["swiglu_limit"]) == (32.0, 150_000.0, 7.0)


def test_a_latent_cache_holds_one_vector_a_token():
    spec = spec_of("DeepseekV3ForCausalLM")
    config = EngineConfig(model_path="", max_total_tokens=64, page_size=16)
    (device,) = jax.devices("cpu")[:1]
    plan = kv_pool.plan_pool(config, spec, FLOAT32, device, 0)
    assert plan.num_bytes == 64 * spec.num_layers * (32 + 16) * 4
    pools = kv_pool.make_pools(plan, spec, device, stacked=False)
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(pools)) == plan.num_bytes
