"""Rotary position embedding (Su et al. 2021) in the half-split form, with the common scaling rules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from sgl_jax.engine.config.model_spec import RopeSpec
from sgl_jax.engine.errors import ModelLoadError

Frequencies = npt.NDArray[np.float32]


def inverse_frequencies(spec: RopeSpec) -> Frequencies:
    """float32[rotary_dim / 2]: radians a position, after the model's scaling rule.

    Raises:
        ModelLoadError: the scaling rule is unknown or incomplete.
    """
    plain = 1.0 / spec.theta ** (np.arange(0, spec.rotary_dim, 2, dtype=np.float32) / np.float32(spec.rotary_dim))
    if spec.scaling is None:
        return plain.astype(np.float32)
    kind = spec.scaling["rope_type"]
    if kind not in _RULES:
        raise ModelLoadError(f"rope scaling {kind!r} is not supported; supported: {', '.join(_RULES)}.")
    try:
        return _RULES[kind](plain, spec.scaling).astype(np.float32)
    except KeyError as error:
        raise ModelLoadError(f"rope scaling {kind!r} lacks the parameter {error}.") from error


def _linear(plain: Frequencies, scaling: dict[str, Any]) -> Frequencies:
    return plain / np.float32(scaling["factor"])


def _llama3(plain: Frequencies, scaling: dict[str, Any]) -> Frequencies:
    """Llama 3.1's rule: long waves are stretched, short ones kept, a smooth ramp between them."""
    original = scaling["original_max_position_embeddings"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    wavelength = 2 * math.pi / plain
    stretched = plain / scaling["factor"]
    ramp = (original / wavelength - low) / (high - low)
    smooth = (1 - ramp) * stretched + ramp * plain
    scaled = np.where(wavelength > original / low, stretched, plain)
    between = (wavelength <= original / low) & (wavelength >= original / high)
    return np.where(between, smooth, scaled)


_RULES: dict[str, Callable[[Frequencies, dict[str, Any]], Frequencies]] = {"linear": _linear, "llama3": _llama3}


def rotation(positions: jax.Array, frequencies: Frequencies) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines for int32[T] positions: two float32[T, rotary_dim / 2]."""
    angles = positions[:, None].astype(jnp.float32) * frequencies
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x_thd: jax.Array, rope: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Rotates the first `rotary_dim` dimensions of float[T, H, D], computed in float32."""
    cos, sin = (part[:, None, :] for part in rope)
    half = cos.shape[-1]
    first, second, rest = jnp.split(x_thd.astype(jnp.float32), [half, 2 * half], axis=-1)
    turned = [first * cos - second * sin, second * cos + first * sin, rest]
    return jnp.concatenate(turned, axis=-1).astype(x_thd.dtype)
