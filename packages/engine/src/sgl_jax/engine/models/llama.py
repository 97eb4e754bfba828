"""Llama 1 to 3, SmolLM, TinyLlama and kin: the shared decoder as it is."""

from __future__ import annotations

from sgl_jax.engine.models.decoder import Decoder


class LlamaForCausalLM(Decoder):
    """`LlamaForCausalLM` of Hugging Face checkpoints."""
