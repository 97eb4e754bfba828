"""Which layers see a sliding window only, read from a config."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.models.base import LayerKind

_TYPES = {"sliding_attention": True, "full_attention": False}


def sliding_layers(spec: ModelSpec, otherwise: Callable[[int], bool]) -> tuple[bool, ...]:
    """Whether each layer's attention slides: the config's `layer_types`, else the family's rule by layer number.

    Raises:
        ModelLoadError: `layer_types` has another length than the model, or an unknown type.
    """
    types = spec.raw.get("layer_types")
    if types is None:
        return tuple(otherwise(layer) for layer in range(spec.num_layers))
    if not isinstance(types, list) or len(types) != spec.num_layers or not set(types) <= _TYPES.keys():
        raise ModelLoadError(
            f"config.json: 'layer_types' must list {spec.num_layers} of {', '.join(_TYPES)}, got {types!r}."
        )
    return tuple(_TYPES[name] for name in types)


def uniform_kinds(spec: ModelSpec) -> tuple[LayerKind, ...]:
    """The config's window for all layers, or none for all.

    Raises:
        ModelLoadError: `sliding_window` is neither null nor a positive integer.
    """
    return window_kinds(spec, [spec.raw.get("sliding_window") is not None] * spec.num_layers)


def window_kinds(spec: ModelSpec, sliding: Sequence[bool], *, full_rope: int = 0) -> tuple[LayerKind, ...]:
    """A kind for each layer: the config's window and rotation 0 where it slides, else no window and `full_rope`.

    Raises:
        ModelLoadError: a layer slides and `sliding_window` is no positive integer.
    """
    window = spec.raw.get("sliding_window")
    if any(sliding) and (not isinstance(window, int) or window < 1):
        raise ModelLoadError(f"config.json: 'sliding_window' must be a positive integer, got {window!r}.")
    return tuple(LayerKind(window) if slides else LayerKind(None, full_rope) for slides in sliding)
