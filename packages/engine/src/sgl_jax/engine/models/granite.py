"""Granite: the shared decoder with four multipliers, of embeddings, scores, residual branches and logits."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.models.base import KV, LayerContext
from sgl_jax.engine.models.decoder import Attention, Decoder, DecoderLayer


class GraniteAttention(Attention):
    """Attention with a scale from the config."""

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None:
        super().__init__(spec, dtype=dtype)
        self.scale = float(spec.raw.get("attention_multiplier", 1.0))


class GraniteLayer(DecoderLayer):
    """The block, with both branches multiplied before they are added."""

    AttentionType = GraniteAttention

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None:
        super().__init__(spec, dtype=dtype)
        self.multiplier = float(spec.raw.get("residual_multiplier", 1.0))

    def __call__(self, hidden: jax.Array, kv: KV, context: LayerContext) -> tuple[jax.Array, KV]:
        """float[T, hidden] -> float[T, hidden] and the updated pages."""
        attended, kv = self.self_attn(self.input_layernorm(hidden), kv, context)
        hidden = hidden + attended * self.multiplier
        return hidden + self.mlp(self.post_attention_layernorm(hidden)) * self.multiplier, kv


class GraniteForCausalLM(Decoder):
    """`GraniteForCausalLM` of Hugging Face checkpoints."""

    Layer = GraniteLayer

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None:
        super().__init__(spec, dtype=dtype)
        self.embedding_multiplier = float(spec.raw.get("embedding_multiplier", 1.0))
        self.logits_scaling = float(spec.raw.get("logits_scaling", 1.0))

    def embed(self, token_ids: jax.Array) -> jax.Array:
        """int32[T] -> dtype[T, hidden]."""
        return super().embed(token_ids) * self.embedding_multiplier

    def logits(self, hidden: jax.Array, live: jax.Array | None = None) -> jax.Array:
        """float[R, hidden] -> float32[R, vocab]."""
        return super().logits(hidden, live) / self.logits_scaling
