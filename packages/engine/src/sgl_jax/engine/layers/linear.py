"""Matrix products with the weight stored as in checkpoints, [out, in], or packed."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from sgl_jax.engine.quantization.matmul import packed_matmul
from sgl_jax.engine.quantization.matrix import PackedMatrix
from sgl_jax.engine.quantization.tiled import TiledMatrix

Weight = nnx.Param[jax.Array] | PackedMatrix | TiledMatrix
"""A parameter that `quantization.with_packed` may have replaced."""


class Linear(nnx.Module):
    """`y = x W^T (+ b)`, accumulated in float32 and returned in x's type.

    Args:
        in_features, out_features: sizes; the weight is [out, in].
        dtype: type of the weight; x is brought to it for the product.
        bias: whether there is a bias[out].

    Attributes:
        PACKABLE: parameters that may be packed, see `quantization.matrix`.
        PARTIAL: cut along its weight's inputs, its answers are partial, see `parallel.modules`.
        mesh_axis: then, over which axis of devices they are summed.
    """

    PACKABLE: ClassVar[tuple[str, ...]] = ("weight",)
    PARTIAL: ClassVar[int] = -1
    weight: Weight
    mesh_axis: str | None = None

    def __init__(self, in_features: int, out_features: int, *, dtype: jnp.dtype, bias: bool = False) -> None:
        self.weight = nnx.Param(jnp.zeros((out_features, in_features), dtype))
        self.bias = nnx.Param(jnp.zeros((out_features,), dtype)) if bias else None

    def __call__(self, x: jax.Array) -> jax.Array:
        """float[T, in] -> float[T, out]."""
        rounds_at_once = self.bias is None or self.mesh_axis is not None
        y = apply_weight(x, self.weight, x.dtype if rounds_at_once else None)
        if self.mesh_axis is not None:
            # In x's type, as it would travel on: half the bytes between devices, where that is bfloat16.
            y = lax.psum(y.astype(x.dtype), self.mesh_axis).astype(jnp.float32)
        if self.bias is not None:
            y = y + self.bias[...].astype(jnp.float32)
        return y.astype(x.dtype)


def apply_weight(x: jax.Array, weight: Weight, rounds_to: jnp.dtype | None = None) -> jax.Array:
    """x[T, in] times a module's weight[out, in] transposed, in float32.

    Args:
        x, weight: the factors.
        rounds_to: what the caller makes of the result at once; a kernel may then do so itself.
    """
    if isinstance(weight, PackedMatrix | TiledMatrix):
        return packed_matmul(x, weight.whole(), rounds_to)
    return matmul(x, weight[...])


def matmul(x: jax.Array, weight: jax.Array) -> jax.Array:
    """x[T, in] times weight[out, in] transposed, in float32."""
    contract_last = (((1,), (1,)), ((), ()))
    return lax.dot_general(x.astype(weight.dtype), weight, contract_last, preferred_element_type=jnp.float32)
