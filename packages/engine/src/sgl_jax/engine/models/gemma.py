"""Gemma: norms scale by `1 + weight`, and embeddings are multiplied by the root of the width."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
import msgspec

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.layers.mlp import GatedMLP
from sgl_jax.engine.layers.norm import OffsetRMSNorm
from sgl_jax.engine.models.decoder import Decoder, DecoderLayer


class GemmaMLP(GatedMLP):
    """The feed-forward block; the first configs say `gelu` and mean its tanh form."""

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None:
        meant = "gelu_pytorch_tanh" if spec.hidden_act == "gelu" else spec.hidden_act
        super().__init__(msgspec.structs.replace(spec, hidden_act=meant), dtype=dtype)


class GemmaLayer(DecoderLayer):
    """The block with these norms."""

    NormType = OffsetRMSNorm
    MlpType = GemmaMLP


class GemmaForCausalLM(Decoder):
    """`GemmaForCausalLM` of Hugging Face checkpoints."""

    Layer: ClassVar[type[DecoderLayer]] = GemmaLayer

    def embed(self, token_ids: jax.Array) -> jax.Array:
        """int32[T] -> dtype[T, hidden]."""
        hidden = super().embed(token_ids)
        # The factor is rounded to the type of the weights, as the model was trained.
        return hidden * jnp.asarray(hidden.shape[-1] ** 0.5, hidden.dtype)
