"""Products of float8 with float8, in parts that kernels can share out among each other. Plain arrays; no kernel here.

A product of rounded activations is a sum of codes, which two scales belong to: one of its row, one of its column. Who
multiplies them decides how many kernels a layer has, because XLA folds neither into the product itself once another
kernel found them. So they may go with the sums to whatever reads these.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from sgl_jax.engine.quantization.matrix import Packed, meant


class Rounded(NamedTuple):
    """Activations in float8.

    Attributes:
        codes: float8[T, K].
        scales: float32[T], what each row's codes are multiplied by.
    """

    codes: jax.Array
    scales: jax.Array


class Unscaled(NamedTuple):
    """A product whose scales are still to be multiplied.

    Attributes:
        sums: float[T, N], of codes.
        rows: float32[T].
        columns: float32[N].
    """

    sums: jax.Array
    rows: jax.Array
    columns: jax.Array

    def scaled(self) -> jax.Array:
        """float32[T, N]."""
        return self.sums.astype(jnp.float32) * self.rows[:, None] * self.columns


def product(x: Rounded, packed: Packed, dtype: jnp.dtype) -> Unscaled:
    """Rounded[T, K] times packed[N, K] transposed: summed in float32, and left as `dtype`."""
    weight = meant(packed.parts["codes"], packed.form)
    sums = lax.dot_general(x.codes, weight, (((1,), (1,)), ((), ())), preferred_element_type=dtype)
    return Unscaled(sums, x.scales, packed.parts["scales"])


def settled(delta: jax.Array | Unscaled, dtype: jnp.dtype) -> jax.Array:
    """What is to be added to a residual stream of `dtype`, as an array."""
    return delta.scaled().astype(dtype) if isinstance(delta, Unscaled) else delta
