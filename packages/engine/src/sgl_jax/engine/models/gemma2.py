"""Gemma 2: norms on both sides of each half, bounded scores and logits, a window in every other layer."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.layers.norm import OffsetRMSNorm
from sgl_jax.engine.models.base import KV, LayerContext, LayerKind
from sgl_jax.engine.models.decoder import Attention, DecoderLayer, Norm
from sgl_jax.engine.models.gemma import GemmaForCausalLM, GemmaLayer
from sgl_jax.engine.models.windows import sliding_layers, window_kinds


class Gemma2Attention(Attention):
    """Attention with a scale of its own and bounded scores."""

    NormType = OffsetRMSNorm

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None:
        super().__init__(spec, dtype=dtype)
        self.scale = spec.raw["query_pre_attn_scalar"] ** -0.5
        self.softcap = spec.raw.get("attn_logit_softcapping")


class Gemma2Layer(GemmaLayer):
    """hidden + norm(attention(norm(hidden))), then + norm(mlp(norm(·)))."""

    AttentionType: ClassVar[type[Attention]] = Gemma2Attention
    NORMS = (
        "input_layernorm",
        "post_attention_layernorm",
        "pre_feedforward_layernorm",
        "post_feedforward_layernorm",
    )
    pre_feedforward_layernorm: Norm
    post_feedforward_layernorm: Norm

    def __call__(self, hidden: jax.Array, kv: KV, context: LayerContext) -> tuple[jax.Array, KV]:
        """float[T, hidden] -> float[T, hidden] and the updated pages."""
        attended, kv = self.self_attn(self.input_layernorm(hidden), kv, context)
        hidden = hidden + self.post_attention_layernorm(attended)
        return hidden + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(hidden))), kv


class Gemma2ForCausalLM(GemmaForCausalLM):
    """`Gemma2ForCausalLM` of Hugging Face checkpoints."""

    Layer: ClassVar[type[DecoderLayer]] = Gemma2Layer

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None:
        super().__init__(spec, dtype=dtype)
        self.logit_softcap: float | None = spec.raw.get("final_logit_softcapping")

    @classmethod
    def layer_kinds(cls, spec: ModelSpec) -> tuple[LayerKind, ...]:
        """A window in the first layer and in every other one after it."""
        return window_kinds(spec, sliding_layers(spec, lambda layer: layer % 2 == 0))

    def logits(self, hidden: jax.Array, live: jax.Array | None = None) -> jax.Array:
        """float[R, hidden] -> float32[R, vocab]."""
        logits = super().logits(hidden, live)
        if self.logit_softcap is None:
            return logits
        return self.logit_softcap * jnp.tanh(logits / self.logit_softcap)
