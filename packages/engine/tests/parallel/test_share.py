"""What one of several devices has of a model, and which numbers of devices a model refuses."""

from __future__ import annotations

from typing import Any

import pytest

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.errors import ConfigError
from sgl_jax.engine.execution.devices import find_devices
from sgl_jax.engine.parallel.share import laid_end_to_end, share_of
from tools.tiny_model import tiny_config


def spec_of(architecture: str = "LlamaForCausalLM", **fields: Any) -> ModelSpec:
    return ModelSpec.from_hf_config(tiny_config(architecture, tie=False, dtype="float32", **fields))


def test_heads_widths_and_vocabulary_are_cut() -> None:
    spec = spec_of(num_attention_heads=8, num_key_value_heads=4, vocab_size=513)
    share = share_of(spec, 2)
    assert (share.num_heads, share.num_kv_heads, share.cache.heads) == (4, 2, 2)
    assert (share.intermediate_size, share.vocab_size) == (64, 257)
    assert (share.hidden_size, share.head_dim, share.num_layers) == (spec.hidden_size, spec.head_dim, spec.num_layers)


def test_devices_share_a_key_head_when_there_are_too_few() -> None:
    share = share_of(spec_of(num_attention_heads=8, num_key_value_heads=2), 8)
    assert (share.num_heads, share.num_kv_heads, share.cache.heads) == (1, 1, 1)


def test_experts_become_narrower_not_fewer() -> None:
    share = share_of(spec_of("Qwen2MoeForCausalLM"), 2)
    assert share.raw["num_experts"] == 8
    assert (share.raw["moe_intermediate_size"], share.raw["shared_expert_intermediate_size"]) == (24, 48)


def test_a_latent_cache_stays_whole() -> None:
    spec = spec_of("DeepseekV3ForCausalLM")
    assert share_of(spec, 4).cache == spec.cache


@pytest.mark.parametrize(
    ("fields", "count", "says"),
    [
        ({}, 3, "4 attention heads are not divisible by 3 and neither are 2 key heads divisible by 3 nor 3 by 2"),
        ({"num_attention_heads": 12, "num_key_value_heads": 4}, 6, "neither are 4 key heads divisible by 6 nor 6 by 4"),
        ({"intermediate_size": 126}, 4, "intermediate_size 126 is not divisible by 4. Sizes that work: 1, 2."),
    ],
)
def test_what_cannot_be_cut_is_told_with_numbers(fields: dict[str, int], count: int, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        share_of(spec_of(**fields), count)
    assert f"--tp-size={count}" in str(caught.value)
    assert says in str(caught.value)


def test_fused_matrices_are_known() -> None:
    spec = spec_of(num_attention_heads=4, num_key_value_heads=2, head_dim=16)
    assert laid_end_to_end("self_attn.qkv_proj.weight.codes", 128, spec) == (64, 32, 32)
    assert laid_end_to_end("mlp.experts.gate_up_proj.bias", 96, spec) == (48, 48)
    assert laid_end_to_end("self_attn.o_proj.weight", 64, spec) == (64,)


@pytest.mark.parametrize(
    ("device", "size", "says"),
    [
        ("cuda:0,1", 1, "names 2 devices: --tp-size must be 2 too"),
        ("cuda:0,1", 4, "names 2 devices: --tp-size must be 2 too"),
        ("cuda:0", 2, "--tp-size=2 needs as many devices"),
        ("cpu", 0, "--tp-size must be at least 1"),
    ],
)
def test_flags_that_do_not_go_together(device: str, size: int, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        EngineConfig(model_path="m", device=device, tp_size=size)


def test_too_few_devices() -> None:
    with pytest.raises(ConfigError, match="xla_force_host_platform_device_count=64"):
        find_devices("cpu", 64)
