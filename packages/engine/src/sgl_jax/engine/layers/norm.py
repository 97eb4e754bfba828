"""Normalisation of vectors: root mean square (Zhang & Sennrich 2019) and mean and variance (Ba et al. 2016)."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax


class RMSNorm(nnx.Module):
    """Normalises the last axis in float32, then scales by `weight`.

    Attributes:
        PARTIAL: cut along this axis of its weight, it sees a part of each vector, see `parallel.modules`.
        mesh_axis: then, over which axis of devices the mean is taken.
    """

    PARTIAL: ClassVar[int] = -1
    mesh_axis: str | None = None

    def __init__(self, size: int, *, eps: float, dtype: jnp.dtype) -> None:
        self.weight = nnx.Param(jnp.zeros((size,), dtype))
        self.eps = eps

    def __call__(self, x: jax.Array) -> jax.Array:
        """float[..., size] -> the same shape and type."""
        x32 = x.astype(jnp.float32)
        mean_square = jnp.mean(x32 * x32, axis=-1, keepdims=True)
        if self.mesh_axis is not None:
            mean_square = lax.pmean(mean_square, self.mesh_axis)
        x32 = x32 * lax.rsqrt(mean_square + self.eps)
        return (self.scale() * x32).astype(x.dtype)

    def scale(self) -> jax.Array:
        """float32[size], what the normalised vector is multiplied by."""
        return self.factor().astype(jnp.float32)

    def factor(self) -> jax.Array:
        """The same in whatever type it is at hand, for kernels that convert it themselves."""
        return self.weight[...]


class OffsetRMSNorm(RMSNorm):
    """The same, scaled by `1 + weight`."""

    def factor(self) -> jax.Array:
        """float32[size]."""
        return 1.0 + self.weight[...].astype(jnp.float32)


class LayerNorm(nnx.Module):
    """Brings the last axis to mean 0 and variance 1 in float32, then scales by `weight`."""

    def __init__(self, size: int, *, eps: float, dtype: jnp.dtype) -> None:
        self.weight = nnx.Param(jnp.zeros((size,), dtype))
        self.eps = eps

    def __call__(self, x: jax.Array) -> jax.Array:
        """float[..., size] -> the same shape and type."""
        x32 = x.astype(jnp.float32)
        x32 = x32 - jnp.mean(x32, axis=-1, keepdims=True)
        x32 = x32 * lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + self.eps)
        return (self.weight[...].astype(jnp.float32) * x32 + self.shift()).astype(x.dtype)

    def shift(self) -> jax.Array | float:
        """What is added at the end."""
        return 0.0


class BiasedLayerNorm(LayerNorm):
    """The same, with a `bias` added at the end."""

    def __init__(self, size: int, *, eps: float, dtype: jnp.dtype) -> None:
        super().__init__(size, eps=eps, dtype=dtype)
        self.bias = nnx.Param(jnp.zeros((size,), dtype))

    def shift(self) -> jax.Array:
        """float32[size]."""
        return self.bias[...].astype(jnp.float32)
