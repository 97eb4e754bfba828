"""StableLM: norms with mean and bias, a part of each head rotated."""

from __future__ import annotations

import jax.numpy as jnp

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.layers.norm import BiasedLayerNorm
from sgl_jax.engine.models.decoder import Attention, Decoder, DecoderLayer


class StableLmAttention(Attention):
    """Attention with biases on q, k and v where the config says so.

    Raises:
        ModelLoadError: the config asks for what only the 12B release has.
    """

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None:
        for name in ("qk_layernorm", "use_parallel_residual"):
            if spec.raw.get(name):
                raise ModelLoadError(f"StableLM with '{name}' is not supported.")
        super().__init__(spec, dtype=dtype)

    @staticmethod
    def biases(spec: ModelSpec) -> tuple[bool, bool]:
        """On q, k and v by `use_qkv_bias`, never on the output."""
        return bool(spec.raw.get("use_qkv_bias")), False


class StableLmLayer(DecoderLayer):
    """The block with these norms."""

    AttentionType = StableLmAttention
    NormType = BiasedLayerNorm


class StableLmForCausalLM(Decoder):
    """`StableLmForCausalLM` of Hugging Face checkpoints."""

    Layer = StableLmLayer
