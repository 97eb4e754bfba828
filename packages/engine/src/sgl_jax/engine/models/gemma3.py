"""Gemma 3 (text): five layers with a window to one without, each kind with a rotary base of its own."""

from __future__ import annotations

from sgl_jax.engine.config.model_spec import ModelSpec, rope_spec
from sgl_jax.engine.layers.rope_scaling import make_rope
from sgl_jax.engine.layers.rotary import Rope
from sgl_jax.engine.models.base import LayerKind
from sgl_jax.engine.models.gemma2 import Gemma2Attention, Gemma2ForCausalLM, Gemma2Layer
from sgl_jax.engine.models.windows import sliding_layers, window_kinds


class Gemma3Attention(Gemma2Attention):
    """Attention with a norm over each head's query and key."""

    HEAD_NORMS = True


class Gemma3Layer(Gemma2Layer):
    """The block with these norms."""

    AttentionType = Gemma3Attention


class Gemma3ForCausalLM(Gemma2ForCausalLM):
    """`Gemma3ForCausalLM` of Hugging Face checkpoints."""

    Layer = Gemma3Layer

    @classmethod
    def layer_kinds(cls, spec: ModelSpec) -> tuple[LayerKind, ...]:
        """Every sixth layer sees all (older configs may say another number)."""
        period = spec.raw.get("sliding_window_pattern", 6)
        return window_kinds(spec, sliding_layers(spec, lambda layer: (layer + 1) % period != 0), full_rope=1)

    @classmethod
    def ropes(cls, spec: ModelSpec, max_seq_len: int) -> tuple[Rope, ...]:
        """The rotation of layers with a window, then that of layers without."""
        # Older configs keep the local base beside the global one, and their scaling is for the global one.
        local = {**spec.raw, "rope_theta": spec.raw["rope_local_base_freq"], "rope_scaling": None}
        return (
            make_rope(rope_spec(local, spec.head_dim, "sliding_attention"), max_seq_len),
            make_rope(spec.rope, max_seq_len),
        )


class Gemma3ForConditionalGeneration(Gemma3ForCausalLM):
    """The text part of `Gemma3ForConditionalGeneration`; `weights.adapters` leaves out the rest."""
