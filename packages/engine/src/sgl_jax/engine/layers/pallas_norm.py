"""A residual sum and the norm of it in one GPU kernel, with both as results.

XLA makes one, two or three kernels of these, by rules that change with the batch: a sum that is needed again is a
kernel of its own, and at one token so is the reduction. One program does a row.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plt

from sgl_jax.engine.layers.norm import RMSNorm

Ref = Any
"""A reference into device memory, as Pallas hands it to a kernel."""
_MOST_FEATURES = 16384
_FEATURES_A_WARP = 512


def add_norm(
    hidden: jax.Array, delta: jax.Array | None, norm: nnx.Module, *, interpret: bool = False
) -> tuple[jax.Array, jax.Array] | None:
    """The residual stream after an addition, and the norm of that.

    Args:
        hidden: float[T, hidden].
        delta: what is added, float[T, hidden]; None adds nothing.
        norm: of the sum.
        interpret: compute with XLA what Triton would, on any device.

    Returns:
        The sum, and `norm` of it, in the type of `hidden`; None where there is no kernel for this norm.
    """
    features = hidden.shape[1]
    if not isinstance(norm, RMSNorm) or norm.mesh_axis is not None or features > _MOST_FEATURES:
        return None
    block = pl.next_power_of_2(features)
    addends = (hidden,) if delta is None else (hidden, delta)
    like = jax.ShapeDtypeStruct(hidden.shape, hidden.dtype)
    results = pl.pallas_call(
        functools.partial(_kernel, block=block, eps=norm.eps, num_addends=len(addends)),
        grid=(hidden.shape[0],),
        out_shape=[like] * len(addends),
        compiler_params=plt.CompilerParams(num_warps=max(1, min(8, block // _FEATURES_A_WARP)), num_stages=1),
        interpret=interpret,
        name="add_norm",
    )(*addends, norm.factor())
    return (hidden, results[0]) if delta is None else (results[1], results[0])


def _kernel(*refs: Ref, block: int, eps: float, num_addends: int) -> None:
    *addend_refs, weight_ref = refs[: num_addends + 1]
    normed_ref, *sum_refs = refs[num_addends + 1 :]
    row = pl.program_id(0)
    feature = jnp.arange(block)
    features = normed_ref.shape[1]
    live = feature < features

    def read(ref: Ref) -> jax.Array:
        return plt.load(ref.at[row, feature], mask=live, other=0).astype(jnp.float32)

    total = read(addend_refs[0])
    for ref in addend_refs[1:]:
        total = (total + read(ref)).astype(normed_ref.dtype).astype(jnp.float32)
    for ref in sum_refs:
        plt.store(ref.at[row, feature], total.astype(ref.dtype), mask=live)
    inverse = lax.rsqrt(jnp.sum(total * total) / features + eps)
    weight = plt.load(weight_ref.at[feature], mask=live, other=0).astype(jnp.float32)
    plt.store(normed_ref.at[row, feature], (weight * (total * inverse)).astype(normed_ref.dtype), mask=live)
