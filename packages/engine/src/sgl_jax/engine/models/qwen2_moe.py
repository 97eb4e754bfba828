"""Qwen2-MoE: many small experts, and one that all tokens ask; some layers may have a plain feed-forward block."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
import msgspec

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.layers.linear import Linear
from sgl_jax.engine.layers.mlp import GatedMLP, activation
from sgl_jax.engine.layers.moe import Experts, halves
from sgl_jax.engine.layers.routing import Router, Routes, softmax_then_top
from sgl_jax.engine.models.base import LayerKind
from sgl_jax.engine.models.decoder import Attention, Decoder, DecoderLayer
from sgl_jax.engine.models.sparse import SparseLayer, SparseMLP, asked, experts_by_name, size
from sgl_jax.engine.models.windows import sliding_layers, window_kinds


class QwenExperts(SparseMLP):
    """The likeliest experts, whose weights add up to one if the config says so."""

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None:
        count = size(spec, "num_experts")
        self.asked = asked(spec, count)
        self.normalize = bool(spec.raw.get("norm_topk_prob"))
        self.gate = Router(spec.hidden_size, count, dtype=dtype)
        gating, inner = halves(activation(spec.hidden_act)), size(spec, "moe_intermediate_size")
        self.experts = Experts(count, spec.hidden_size, inner, gating=gating, dtype=dtype)

    def routes(self, x: jax.Array) -> Routes:
        """The experts of each token of float[T, hidden]."""
        return softmax_then_top(self.gate(x), self.asked, normalize=self.normalize)


class Qwen2MoeMLP(QwenExperts):
    """The same, plus an expert that all tokens ask, and each as much as a gate says."""

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None:
        super().__init__(spec, dtype=dtype)
        shared = msgspec.structs.replace(spec, intermediate_size=size(spec, "shared_expert_intermediate_size"))
        self.shared_expert = GatedMLP(shared, dtype=dtype)
        self.shared_expert_gate = Linear(spec.hidden_size, 1, dtype=dtype)

    def __call__(self, x: jax.Array, live: jax.Array | None = None, stack_index: jax.Array | int = 0) -> jax.Array:
        """float[T, hidden] -> float[T, hidden]."""
        shared = jax.nn.sigmoid(self.shared_expert_gate(x)) * self.shared_expert(x)
        return super().__call__(x, live, stack_index) + shared


class Qwen2MoeAttention(Attention):
    """Biases on q, k and v, unless the config says no."""

    @staticmethod
    def biases(spec: ModelSpec) -> tuple[bool, bool]:
        """On q, k and v, never on the output."""
        return bool(spec.raw.get("qkv_bias", True)), False


class Qwen2MoeDenseLayer(DecoderLayer):
    """The block with these biases."""

    AttentionType = Qwen2MoeAttention


class Qwen2MoeLayer(SparseLayer):
    """The same with experts."""

    AttentionType = Qwen2MoeAttention
    MlpType = Qwen2MoeMLP


class Qwen2MoeForCausalLM(Decoder):
    """`Qwen2MoeForCausalLM` of Hugging Face checkpoints."""

    Layer: ClassVar[type[DecoderLayer]] = Qwen2MoeLayer
    DenseLayer: ClassVar[type[DecoderLayer]] = Qwen2MoeDenseLayer
    FUSED: ClassVar[dict[str, tuple[str, ...]]] = {
        **Decoder.FUSED,
        **experts_by_name("gate_proj", "up_proj", "down_proj"),
        "mlp.shared_expert.gate_up_proj": ("mlp.shared_expert.gate_proj", "mlp.shared_expert.up_proj"),
    }

    @classmethod
    def layers(cls, spec: ModelSpec) -> tuple[type[DecoderLayer], ...]:
        """Experts in every `decoder_sparse_step`-th layer that `mlp_only_layers` does not list."""
        period, plain = size(spec, "decoder_sparse_step"), spec.raw.get("mlp_only_layers") or ()
        sparse = [layer not in plain and (layer + 1) % period == 0 for layer in range(spec.num_layers)]
        return tuple(cls.Layer if has_experts else cls.DenseLayer for has_experts in sparse)

    @classmethod
    def layer_kinds(cls, spec: ModelSpec) -> tuple[LayerKind, ...]:
        """A window in every other of the first `max_window_layers`, if `use_sliding_window` says so."""
        if not spec.raw.get("use_sliding_window"):
            return super().layer_kinds(spec)
        first_whole = spec.raw["max_window_layers"]
        return window_kinds(spec, sliding_layers(spec, lambda layer: layer % 2 == 0 and layer < first_whole))
