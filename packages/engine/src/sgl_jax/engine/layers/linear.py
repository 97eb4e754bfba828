"""Matrix products with the weight stored as in checkpoints, [out, in]."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax


class Linear(nnx.Module):
    """`y = x W^T (+ b)`, accumulated in float32 and returned in x's type.

    Args:
        in_features, out_features: sizes; the weight is [out, in].
        dtype: type of the weight; x is brought to it for the product.
        bias: whether there is a bias[out].
    """

    def __init__(self, in_features: int, out_features: int, *, dtype: jnp.dtype, bias: bool = False) -> None:
        self.weight = nnx.Param(jnp.zeros((out_features, in_features), dtype))
        self.bias = nnx.Param(jnp.zeros((out_features,), dtype)) if bias else None

    def __call__(self, x: jax.Array) -> jax.Array:
        """float[T, in] -> float[T, out]."""
        y = matmul(x, self.weight[...])
        if self.bias is not None:
            y = y + self.bias[...].astype(jnp.float32)
        return y.astype(x.dtype)


def matmul(x: jax.Array, weight: jax.Array) -> jax.Array:
    """x[T, in] times weight[out, in] transposed, in float32."""
    contract_last = (((1,), (1,)), ((), ()))
    return lax.dot_general(x.astype(weight.dtype), weight, contract_last, preferred_element_type=jnp.float32)
