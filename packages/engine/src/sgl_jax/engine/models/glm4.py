"""GLM-4 (0414): norms on both sides of each half, neighbouring rotary pairs in half of each head."""

from __future__ import annotations

from typing import ClassVar

import jax

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.models.base import KV, LayerContext
from sgl_jax.engine.models.decoder import Attention, Decoder, DecoderLayer, Norm


class Glm4Attention(Attention):
    """Attention whose rotary pairs are neighbours."""

    INTERLEAVED = True

    @staticmethod
    def biases(spec: ModelSpec) -> tuple[bool, bool]:
        """On q, k and v only."""
        return spec.attention_bias, False


class Glm4Layer(DecoderLayer):
    """hidden + norm(attention(norm(hidden))), then + norm(mlp(norm(·)))."""

    AttentionType = Glm4Attention
    NORMS = ("input_layernorm", "post_self_attn_layernorm", "post_attention_layernorm", "post_mlp_layernorm")
    post_self_attn_layernorm: Norm
    post_mlp_layernorm: Norm

    def __call__(self, hidden: jax.Array, kv: KV, context: LayerContext) -> tuple[jax.Array, KV]:
        """float[T, hidden] -> float[T, hidden] and the updated pages."""
        attended, kv = self.self_attn(self.input_layernorm(hidden), kv, context)
        hidden = hidden + self.post_self_attn_layernorm(attended)
        return hidden + self.post_mlp_layernorm(self.mlp(self.post_attention_layernorm(hidden))), kv


class Glm4ForCausalLM(Decoder):
    """`Glm4ForCausalLM` of Hugging Face checkpoints, which hold gate and up as one tensor."""

    Layer = Glm4Layer
    FUSED: ClassVar[dict[str, tuple[str, ...]]] = {
        "self_attn.qkv_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    }
