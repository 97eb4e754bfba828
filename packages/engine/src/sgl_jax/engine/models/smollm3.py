"""SmolLM3: the shared decoder, with every fourth layer free of positions."""

from __future__ import annotations

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.layers.rotary import Rope, no_rotation
from sgl_jax.engine.models.base import LayerKind
from sgl_jax.engine.models.decoder import Decoder
from sgl_jax.engine.models.windows import sliding_layers, window_kinds


class SmolLM3ForCausalLM(Decoder):
    """`SmolLM3ForCausalLM` of Hugging Face checkpoints."""

    @classmethod
    def layer_kinds(cls, spec: ModelSpec) -> tuple[LayerKind, ...]:
        """Rotation by `no_rope_layers` (1 rotates), and windows where the config has them."""
        rotates = _rotates(spec)
        slides = [False] * spec.num_layers
        if spec.raw.get("use_sliding_window") and spec.raw.get("sliding_window") is not None:
            slides = list(sliding_layers(spec, lambda layer: not rotates[layer]))
        kinds = window_kinds(spec, slides)
        return tuple(kind._replace(rope=0 if turn else 1) for kind, turn in zip(kinds, rotates, strict=True))

    @classmethod
    def ropes(cls, spec: ModelSpec, max_seq_len: int) -> tuple[Rope, ...]:
        """The model's rotation, then none."""
        return (*super().ropes(spec, max_seq_len), no_rotation(spec.rope.rotary_dim))


def _rotates(spec: ModelSpec) -> list[bool]:
    listed = spec.raw.get("no_rope_layers")
    if listed is None:
        period = spec.raw.get("no_rope_layer_interval", 4)
        return [(layer + 1) % period != 0 for layer in range(spec.num_layers)]
    if not isinstance(listed, list) or len(listed) != spec.num_layers:
        raise ModelLoadError(f"config.json: 'no_rope_layers' must list {spec.num_layers} numbers, got {listed!r}.")
    return [bool(entry) for entry in listed]
