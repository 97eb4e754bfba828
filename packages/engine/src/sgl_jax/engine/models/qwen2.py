"""Qwen2 and Qwen2.5: biases on q, k and v; large ones may let their upper layers see a window only."""

from __future__ import annotations

from typing import ClassVar

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.models.base import LayerKind
from sgl_jax.engine.models.decoder import Attention, Decoder, DecoderLayer
from sgl_jax.engine.models.windows import sliding_layers, window_kinds


class Qwen2Attention(Attention):
    """Biases on q, k and v, whatever the config says."""

    @staticmethod
    def biases(spec: ModelSpec) -> tuple[bool, bool]:
        """Always on q, k and v, never on the output."""
        return True, False


class Qwen2Layer(DecoderLayer):
    """The block with these biases."""

    AttentionType = Qwen2Attention


class Qwen2ForCausalLM(Decoder):
    """`Qwen2ForCausalLM` of Hugging Face checkpoints."""

    Layer: ClassVar[type[DecoderLayer]] = Qwen2Layer

    @classmethod
    def layer_kinds(cls, spec: ModelSpec) -> tuple[LayerKind, ...]:
        """A window from layer `max_window_layers` on, if `use_sliding_window` says so."""
        if not spec.raw.get("use_sliding_window"):
            return super().layer_kinds(spec)
        first = spec.raw.get("max_window_layers", 28)
        return window_kinds(spec, sliding_layers(spec, lambda layer: layer >= first))
