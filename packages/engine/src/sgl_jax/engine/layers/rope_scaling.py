"""The rules by which models stretch their rotary frequencies to longer contexts, as `transformers` has them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from sgl_jax.engine.config.model_spec import RopeSpec
from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.layers.rotary import Frequencies, Growth, Rope

Rule = Callable[[RopeSpec, dict[str, Any], int], Rope]
"""RopeSpec, its scaling parameters, the longest sequence that will be served -> Rope."""


def make_rope(spec: RopeSpec, max_seq_len: int) -> Rope:
    """The rotation that a config asks for.

    Args:
        spec: base, dimensions, scaling rule.
        max_seq_len: the longest sequence that will be served; LongRoPE has two sets of frequencies and this
            decides between them.

    Raises:
        ModelLoadError: the scaling rule is unknown or incomplete.
    """
    if spec.scaling is None:
        return Rope(_plain(spec))
    kind = spec.scaling["rope_type"]
    if kind not in _RULES:
        raise ModelLoadError(f"rope scaling {kind!r} is not supported; supported: {', '.join(_RULES)}.")
    try:
        rope = _RULES[kind](spec, spec.scaling, max_seq_len)
        return rope._replace(frequencies=np.asarray(rope.frequencies, np.float32))
    except KeyError as error:
        raise ModelLoadError(f"rope scaling {kind!r} lacks the parameter {error}.") from error
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelLoadError(f"rope scaling {kind!r} has a parameter that does not fit: {error}.") from error


def _plain(spec: RopeSpec) -> Frequencies:
    exponent = np.arange(0, spec.rotary_dim, 2, dtype=np.float32) / np.float32(spec.rotary_dim)
    return (1.0 / spec.theta**exponent).astype(np.float32)


def _positive(value: Any) -> float:
    number = float(value)
    if not number > 0:
        raise ValueError(f"{value!r} must be positive")
    return number


def _linear(spec: RopeSpec, scaling: dict[str, Any], _: int) -> Rope:
    return Rope(_plain(spec) / np.float32(_positive(scaling["factor"])))


def _dynamic(spec: RopeSpec, scaling: dict[str, Any], _: int) -> Rope:
    return Rope(_plain(spec), growth=Growth(_positive(scaling["factor"]), spec.max_length))


def _llama3(spec: RopeSpec, scaling: dict[str, Any], _: int) -> Rope:
    """Llama 3.1's rule: long waves are stretched, short ones kept, a smooth ramp between them."""
    plain, original = _plain(spec), spec.trained_length
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    wavelength = 2 * math.pi / plain
    stretched = plain / _positive(scaling["factor"])
    ramp = (original / wavelength - low) / (high - low)
    smooth = (1 - ramp) * stretched + ramp * plain
    scaled = np.where(wavelength > original / low, stretched, plain)
    between = (wavelength <= original / low) & (wavelength >= original / high)
    return Rope(np.where(between, smooth, scaled))


def _yarn(spec: RopeSpec, scaling: dict[str, Any], _: int) -> Rope:
    """YaRN (Peng et al. 2023, section 3): a ramp over dimensions between stretched and plain frequencies."""
    plain, dim = _plain(spec), spec.rotary_dim
    factor = _positive(scaling.get("factor") or spec.max_length / spec.trained_length)

    def dimension(turns: float) -> float:
        """The dimension whose wave turns so often over the trained length."""
        return dim * math.log(spec.trained_length / (turns * 2 * math.pi)) / (2 * math.log(spec.theta))

    low, high = dimension(scaling.get("beta_fast") or 32), dimension(scaling.get("beta_slow") or 1)
    if scaling.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    ramp = (np.arange(dim // 2, dtype=np.float32) - low) / (high - low if high != low else 0.001)
    ramp = np.clip(ramp, 0, 1).astype(np.float32)
    return Rope(plain / np.float32(factor) * ramp + plain * (1 - ramp), _yarn_magnitude(scaling, factor))


def _yarn_magnitude(scaling: dict[str, Any], factor: float) -> float:
    def magnitude(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

    if scaling.get("attention_factor") is not None:
        return float(scaling["attention_factor"])
    if scaling.get("mscale") and scaling.get("mscale_all_dim"):
        return magnitude(scaling["mscale"]) / magnitude(scaling["mscale_all_dim"])
    return magnitude(1.0)


def _longrope(spec: RopeSpec, scaling: dict[str, Any], max_seq_len: int) -> Rope:
    """LongRoPE (Ding et al. 2024): a divisor for each dimension, one set within the trained length, one beyond.

    `transformers` changes sets when a sequence outgrows the trained length, and computes all its keys anew. A
    server's cache holds keys of many sequences, so one set serves all: that of the longest sequence allowed.
    """
    original = spec.trained_length
    divisors = np.asarray(scaling["long_factor" if max_seq_len > original else "short_factor"], np.float32)
    if divisors.shape != (spec.rotary_dim // 2,):
        raise ValueError(f"expected {spec.rotary_dim // 2} divisors, got {divisors.shape}")
    factor = _positive(scaling.get("factor") or spec.max_length / original)
    magnitude = scaling.get("attention_factor")
    if magnitude is None:
        magnitude = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    return Rope(_plain(spec) / divisors, float(magnitude))


_RULES: dict[str, Rule] = {
    "linear": _linear,
    "dynamic": _dynamic,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
}
