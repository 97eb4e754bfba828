"""OLMo 2: norms after attention and feed-forward instead of before, and over all heads' queries and keys at once."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.models.base import KV, LayerContext
from sgl_jax.engine.models.decoder import Attention, Decoder, DecoderLayer, Norm


class Olmo2Attention(Attention):
    """Attention with a norm over the whole query and the whole key."""

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None:
        super().__init__(spec, dtype=dtype)
        self.q_norm = self.NormType(spec.num_heads * spec.head_dim, eps=spec.norm_eps, dtype=dtype)
        self.k_norm = self.NormType(spec.num_kv_heads * spec.head_dim, eps=spec.norm_eps, dtype=dtype)

    def normalize(self, query_thd: jax.Array, key_tkd: jax.Array) -> tuple[jax.Array, jax.Array]:
        """All heads of a token together."""
        tokens = query_thd.shape[0]
        query, key = self.q_norm(query_thd.reshape(tokens, -1)), self.k_norm(key_tkd.reshape(tokens, -1))
        return query.reshape(query_thd.shape), key.reshape(key_tkd.shape)


class Olmo2Layer(DecoderLayer):
    """hidden + norm(attention(hidden)), then + norm(mlp(·))."""

    AttentionType = Olmo2Attention
    NORMS = ("post_attention_layernorm", "post_feedforward_layernorm")
    post_feedforward_layernorm: Norm

    def __call__(self, hidden: jax.Array, kv: KV, context: LayerContext) -> tuple[jax.Array, KV]:
        """float[T, hidden] -> float[T, hidden] and the updated pages."""
        attended, kv = self.self_attn(hidden, kv, context)
        hidden = hidden + self.post_attention_layernorm(attended)
        return hidden + self.post_feedforward_layernorm(self.mlp(hidden)), kv


class Olmo2ForCausalLM(Decoder):
    """`Olmo2ForCausalLM` of Hugging Face checkpoints."""

    Layer = Olmo2Layer
