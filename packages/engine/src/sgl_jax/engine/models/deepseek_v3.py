"""DeepSeek-V3 and R1: latent attention, and experts in groups besides shared ones; the first layers are plain."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
import msgspec
from flax import nnx

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.layers.mlp import GatedMLP, activation
from sgl_jax.engine.layers.moe import Experts, halves
from sgl_jax.engine.layers.routing import Router, Routes, sigmoid_in_groups
from sgl_jax.engine.models.decoder import Decoder, DecoderLayer
from sgl_jax.engine.models.latent import LatentAttention
from sgl_jax.engine.models.sparse import SparseLayer, SparseMLP, asked, experts_by_name, size


class DeepseekRouter(Router):
    """A router with a correction of its choice, in float32 whatever the other weights are."""

    def __init__(self, hidden_size: int, num_experts: int, *, dtype: jnp.dtype) -> None:
        super().__init__(hidden_size, num_experts, dtype=dtype)
        self.e_score_correction_bias = nnx.Param(jnp.zeros((num_experts,), jnp.float32))


class DeepseekMLP(SparseMLP):
    """The best experts of the best groups, plus some that all tokens ask."""

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None:
        count, inner = size(spec, "n_routed_experts"), size(spec, "moe_intermediate_size")
        self.asked = asked(spec, count)
        self.groups, self.kept_groups = size(spec, "n_group"), size(spec, "topk_group")
        if (
            count % self.groups
            or self.kept_groups > self.groups
            or self.asked > count // self.groups * self.kept_groups
        ):
            raise ModelLoadError(
                f"config.json: {self.asked} of {count} experts cannot be chosen from {self.kept_groups} of "
                f"{self.groups} groups ('num_experts_per_tok', 'n_routed_experts', 'topk_group', 'n_group')."
            )
        self.normalize = bool(spec.raw["norm_topk_prob"])
        self.scale = float(spec.raw["routed_scaling_factor"])
        self.gate = DeepseekRouter(spec.hidden_size, count, dtype=dtype)
        gating = halves(activation(spec.hidden_act))
        self.experts = Experts(count, spec.hidden_size, inner, gating=gating, dtype=dtype)
        shared = msgspec.structs.replace(spec, intermediate_size=inner * size(spec, "n_shared_experts"))
        self.shared_experts = GatedMLP(shared, dtype=dtype)

    def routes(self, x: jax.Array) -> Routes:
        """The experts of each token of float[T, hidden]."""
        return sigmoid_in_groups(
            self.gate(x),
            self.gate.e_score_correction_bias[...],
            self.asked,
            groups=self.groups,
            kept_groups=self.kept_groups,
            normalize=self.normalize,
            scale=self.scale,
        )

    def __call__(self, x: jax.Array, live: jax.Array | None = None, stack_index: jax.Array | int = 0) -> jax.Array:
        """float[T, hidden] -> float[T, hidden]."""
        return super().__call__(x, live, stack_index) + self.shared_experts(x)


class DeepseekDenseLayer(DecoderLayer):
    """The block with latent attention."""

    AttentionType = LatentAttention


class DeepseekLayer(SparseLayer):
    """The same with experts."""

    AttentionType = LatentAttention
    MlpType = DeepseekMLP


class DeepseekV3ForCausalLM(Decoder):
    """`DeepseekV3ForCausalLM` of Hugging Face checkpoints; `weights.adapters` cuts `kv_b_proj` in two."""

    Layer = DeepseekLayer
    FUSED: ClassVar[dict[str, tuple[str, ...]]] = {
        "mlp.gate_up_proj": ("mlp.gate_proj", "mlp.up_proj"),
        "mlp.shared_experts.gate_up_proj": ("mlp.shared_experts.gate_proj", "mlp.shared_experts.up_proj"),
        **experts_by_name("gate_proj", "up_proj", "down_proj"),
    }

    @classmethod
    def layers(cls, spec: ModelSpec) -> tuple[type[DecoderLayer], ...]:
        """Experts from layer `first_k_dense_replace` on."""
        dense = min(int(spec.raw["first_k_dense_replace"]), spec.num_layers)
        return (DeepseekDenseLayer,) * dense + (DeepseekLayer,) * (spec.num_layers - dense)
