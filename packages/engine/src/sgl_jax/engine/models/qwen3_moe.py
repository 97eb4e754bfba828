"""Qwen3-MoE: Qwen3 with many small experts, and none that all tokens ask."""

from __future__ import annotations

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.models.base import LayerKind
from sgl_jax.engine.models.decoder import Decoder
from sgl_jax.engine.models.qwen2_moe import Qwen2MoeForCausalLM, QwenExperts
from sgl_jax.engine.models.qwen3 import Qwen3Attention, Qwen3Layer
from sgl_jax.engine.models.sparse import SparseLayer
from sgl_jax.engine.models.windows import uniform_kinds


class Qwen3MoeLayer(SparseLayer):
    """Qwen3's block with experts."""

    AttentionType = Qwen3Attention
    MlpType = QwenExperts


class Qwen3MoeForCausalLM(Qwen2MoeForCausalLM):
    """`Qwen3MoeForCausalLM` of Hugging Face checkpoints."""

    Layer = Qwen3MoeLayer
    DenseLayer = Qwen3Layer

    @classmethod
    def layer_kinds(cls, spec: ModelSpec) -> tuple[LayerKind, ...]:
        """The same window for all layers, if `use_sliding_window` says so."""
        if not spec.raw.get("use_sliding_window"):
            return Decoder.layer_kinds(spec)
        return uniform_kinds(spec)
