"""gpt-oss: attention with sinks and a window in every other layer, and experts whose gates are bounded."""

from __future__ import annotations

import functools
from typing import ClassVar

import jax
import jax.numpy as jnp

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.layers.moe import Experts
from sgl_jax.engine.layers.routing import Router, Routes, top_then_softmax
from sgl_jax.engine.models.base import LayerKind
from sgl_jax.engine.models.decoder import Attention, Decoder
from sgl_jax.engine.models.sparse import SparseLayer, SparseMLP, asked, experts_by_name, size
from sgl_jax.engine.models.windows import sliding_layers, window_kinds


class GptOssAttention(Attention):
    """Attention with sinks."""

    SINKS = True


class GptOssMLP(SparseMLP):
    """The experts with the highest scores, weighed by the softmax over these alone."""

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None:
        count, inner = size(spec, "num_local_experts"), spec.intermediate_size
        self.asked = asked(spec, count)
        self.router = Router(spec.hidden_size, count, dtype=dtype, bias=True)
        gating = functools.partial(
            bounded_gate, slope=float(spec.raw["swiglu_alpha"]), limit=float(spec.raw["swiglu_limit"])
        )
        self.experts = Experts(count, spec.hidden_size, inner, gating=gating, dtype=dtype, bias=True)

    def routes(self, x: jax.Array) -> Routes:
        """The experts of each token of float[T, hidden]."""
        return top_then_softmax(self.router(x), self.asked)


def bounded_gate(gate_up: jax.Array, *, slope: float, limit: float) -> jax.Array:
    """`gate * sigmoid(slope * gate) * (up + 1)`, with the gate at most `limit` and the other within ± `limit`.

    Args:
        gate_up: float32[B, 2F], gates, then what they gate.
        slope, limit: see above.

    Returns:
        float32[B, F].
    """
    gate, up = jnp.split(gate_up, 2, axis=-1)
    gate, up = jnp.minimum(gate, limit), jnp.clip(up, -limit, limit)
    return gate * jax.nn.sigmoid(slope * gate) * (up + 1)


class GptOssLayer(SparseLayer):
    """The block with both."""

    AttentionType = GptOssAttention
    MlpType = GptOssMLP


class GptOssForCausalLM(Decoder):
    """`GptOssForCausalLM` of Hugging Face checkpoints; `weights.adapters` takes their experts apart."""

    Layer = GptOssLayer
    FUSED: ClassVar[dict[str, tuple[str, ...]]] = {
        **Decoder.FUSED,
        **experts_by_name("gate_proj", "up_proj", "down_proj"),
    }

    @classmethod
    def layer_kinds(cls, spec: ModelSpec) -> tuple[LayerKind, ...]:
        """A window in the first layer and in every other one after it."""
        return window_kinds(spec, sliding_layers(spec, lambda layer: layer % 2 == 0))
