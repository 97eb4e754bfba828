"""Mistral: the shared decoder, whose tokens see a window only (in the first releases; later ones see all)."""

from __future__ import annotations

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.models.base import LayerKind
from sgl_jax.engine.models.decoder import Decoder
from sgl_jax.engine.models.windows import uniform_kinds


class MistralForCausalLM(Decoder):
    """`MistralForCausalLM` of Hugging Face checkpoints."""

    @classmethod
    def layer_kinds(cls, spec: ModelSpec) -> tuple[LayerKind, ...]:
        """The same window for all layers, or none."""
        return uniform_kinds(spec)
