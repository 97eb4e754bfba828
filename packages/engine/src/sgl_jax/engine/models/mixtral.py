"""Mixtral: Mistral, with eight feed-forward blocks of which each token asks two."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.layers.mlp import activation
from sgl_jax.engine.layers.moe import Experts, halves
from sgl_jax.engine.layers.routing import Router, Routes, softmax_then_top
from sgl_jax.engine.models.decoder import Decoder
from sgl_jax.engine.models.mistral import MistralForCausalLM
from sgl_jax.engine.models.sparse import SparseLayer, SparseMLP, asked, experts_by_name, size


class MixtralMLP(SparseMLP):
    """The likeliest experts, whose weights add up to one."""

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None:
        count = size(spec, "num_local_experts")
        self.asked = asked(spec, count)
        self.gate = Router(spec.hidden_size, count, dtype=dtype)
        gating = halves(activation(spec.hidden_act))
        self.experts = Experts(count, spec.hidden_size, spec.intermediate_size, gating=gating, dtype=dtype)

    def routes(self, x: jax.Array) -> Routes:
        """The experts of each token of float[T, hidden]."""
        return softmax_then_top(self.gate(x), self.asked, normalize=True)


class MixtralLayer(SparseLayer):
    """The block with these experts."""

    MlpType = MixtralMLP


class MixtralForCausalLM(MistralForCausalLM):
    """`MixtralForCausalLM` of Hugging Face checkpoints."""

    Layer = MixtralLayer
    FUSED: ClassVar[dict[str, tuple[str, ...]]] = {
        **Decoder.FUSED,
        **experts_by_name("w1", "w3", "w2", module="block_sparse_moe.experts"),
        "mlp.gate": ("block_sparse_moe.gate",),
    }
