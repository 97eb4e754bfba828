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
