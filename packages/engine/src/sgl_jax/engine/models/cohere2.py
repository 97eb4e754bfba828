"""Command R7B: attention and feed-forward side by side; layers with a window rotate, layers without do not."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.layers.norm import LayerNorm
from sgl_jax.engine.layers.rotary import Rope, no_rotation
from sgl_jax.engine.models.base import KV, LayerContext, LayerKind
from sgl_jax.engine.models.decoder import Attention, Decoder, DecoderLayer
from sgl_jax.engine.models.windows import sliding_layers, window_kinds


class Cohere2Attention(Attention):
    """Attention whose rotary pairs are neighbours."""

    INTERLEAVED = True


class Cohere2Layer(DecoderLayer):
    """hidden + attention(norm(hidden)) + mlp(norm(hidden)), with one norm for both."""

    AttentionType = Cohere2Attention
    NormType = LayerNorm
    NORMS = ("input_layernorm",)

    def __call__(self, hidden: jax.Array, kv: KV, context: LayerContext) -> tuple[jax.Array, KV]:
        """float[T, hidden] -> float[T, hidden] and the updated pages."""
        normed = self.input_layernorm(hidden)
        attended, kv = self.self_attn(normed, kv, context)
        return hidden + attended + self.mlp(normed), kv


class Cohere2ForCausalLM(Decoder):
    """`Cohere2ForCausalLM` of Hugging Face checkpoints."""

    Layer = Cohere2Layer

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None:
        super().__init__(spec, dtype=dtype)
        self.logit_scale = float(spec.raw["logit_scale"])

    @classmethod
    def layer_kinds(cls, spec: ModelSpec) -> tuple[LayerKind, ...]:
        """Every fourth layer sees all (older configs may say another number)."""
        period = spec.raw.get("sliding_window_pattern", 4)
        return window_kinds(spec, sliding_layers(spec, lambda layer: (layer + 1) % period != 0), full_rope=1)

    @classmethod
    def ropes(cls, spec: ModelSpec, max_seq_len: int) -> tuple[Rope, ...]:
        """The rotation of layers with a window, then none."""
        return (*super().ropes(spec, max_seq_len), no_rotation(spec.rope.rotary_dim))

    def logits(self, hidden: jax.Array, live: jax.Array | None = None) -> jax.Array:
        """float[R, hidden] -> float32[R, vocab]."""
        return super().logits(hidden, live) * self.logit_scale
