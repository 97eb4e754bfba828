"""What a step is reckoned to take of a GPU, against what its compiler counted (`benchmarks/gpu/results`)."""

from __future__ import annotations

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.execution.step_memory import reserved_bytes, temporary_bytes
from sgl_jax.engine.plan import StepLimits
from tools.qwen3_shapes import MODELS

SPEC = ModelSpec.from_hf_config(dict(MODELS["Qwen3-8B"]))
COUNTED_BYTES = 741_801_056
"""Of a decode step of 256 sequences."""


def test_the_bound_holds_and_is_near():
    bound = temporary_bytes(SPEC, 256, 256)
    assert COUNTED_BYTES <= bound <= 1.5 * COUNTED_BYTES


def test_more_slots_and_longer_steps_take_more():
    few, many = (reserved_bytes(SPEC, StepLimits(2048, 2048), slots) for slots in (32, 256))
    longer = reserved_bytes(SPEC, StepLimits(8192, 8192), 256)
    assert few < many < longer


SPARSE = {
    **MODELS["Qwen3-8B"],
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "vocab_size": 32000,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_key_value_heads": 4,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 768,
}
COUNTED_SPARSE_BYTES = 281 << 20
"""Of a step of 2,048 tokens and 16 sequences."""


def test_experts_are_reckoned_by_their_blocks():
    bound = temporary_bytes(ModelSpec.from_hf_config(SPARSE), 16, 2048)
    assert COUNTED_SPARSE_BYTES <= bound <= 2 * COUNTED_SPARSE_BYTES
    narrow = ModelSpec.from_hf_config({**SPARSE, "intermediate_size": 768})
    assert COUNTED_SPARSE_BYTES <= temporary_bytes(narrow, 16, 2048) <= 1.25 * COUNTED_SPARSE_BYTES
