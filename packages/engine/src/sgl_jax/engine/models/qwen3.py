"""Qwen3: queries and keys are normalised head by head before they are turned."""

from __future__ import annotations

from sgl_jax.engine.models.decoder import Attention, DecoderLayer
from sgl_jax.engine.models.qwen2 import Qwen2ForCausalLM


class Qwen3Attention(Attention):
    """Attention with a norm over each head's query and key."""

    HEAD_NORMS = True


class Qwen3Layer(DecoderLayer):
    """The block with these norms."""

    AttentionType = Qwen3Attention


class Qwen3ForCausalLM(Qwen2ForCausalLM):
    """`Qwen3ForCausalLM` of Hugging Face checkpoints."""

    Layer = Qwen3Layer
