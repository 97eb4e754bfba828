"""Brings the shares of split keys together: one program a row and head."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from sgl_jax.engine.attention.pallas_gpu.kernel import LOG2_E, Partial
from sgl_jax.engine.attention.pallas_gpu.sizes import pieces


class Shares(NamedTuple):
    """What the kernel reads; see `kernel.Operands` for the last two.

    Attributes:
        token: int32[N], where each row's answer goes.
        live: int32[N], whether it goes there at all.
        partial: of N rows.
        sinks: float32[H] or None.
        into: float[T, H, D] or None.
    """

    token: jax.Array
    live: jax.Array
    partial: Partial
    sinks: jax.Array | None
    into: jax.Array | None


def merge(shares: Shares, num_tokens: int, dtype: jnp.dtype, *, interpret: bool) -> jax.Array:
    """dtype[T, H, D]; without `into`, the rows must cover all tokens."""
    lines, _, num_heads, head_dim = shares.partial.out.shape
    last = len(jax.tree.leaves(shares)) - 1
    call = pl.pallas_call(
        _kernel,
        out_shape=jax.ShapeDtypeStruct((num_tokens, num_heads, head_dim), dtype),
        grid=(lines, num_heads),
        input_output_aliases={} if shares.into is None else {last: 0},
        compiler_params=triton.CompilerParams(num_warps=2, num_stages=1),
        interpret=interpret,
        name="merge_attention",
    )
    return call(shares)


def _kernel(refs: Any, result: Any) -> None:
    line, head = pl.program_id(0), pl.program_id(1)
    splits, head_dim = refs.partial.out.shape[1], refs.partial.out.shape[3]
    split = jnp.arange(splits)
    share_of = (jnp.full_like(split, line), split, jnp.full_like(split, head))
    tops, totals = refs.partial.top[share_of], refs.partial.total[share_of]
    top = jnp.max(tops)
    if refs.sinks is not None:
        sink = refs.sinks[head] * LOG2_E
        top = jnp.maximum(top, sink)
    weights = jnp.exp2(tops - top)
    total = jnp.sum(weights * totals)
    if refs.sinks is not None:
        total = total + jnp.exp2(sink - top)
    live = refs.live[line] > 0
    for piece in pieces(head_dim):
        dimension = jnp.arange(piece.size)
        exists = dimension < piece.live
        index = (*(axis[:, None] for axis in share_of), (piece.first + dimension)[None, :])
        outs = triton.load(refs.partial.out.at[index], mask=exists[None, :] & (totals > 0)[:, None], other=0.0)
        out = jnp.sum(outs * weights[:, None], axis=0) / jnp.maximum(total, 1e-30)
        place = (jnp.full_like(dimension, refs.token[line]), jnp.full_like(dimension, head), piece.first + dimension)
        triton.store(result.at[place], out.astype(result.dtype), mask=exists & live)
