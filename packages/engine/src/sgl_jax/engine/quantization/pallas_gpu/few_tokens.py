"""Packed products of very few tokens: what they cost is the reading of codes and scales, each once.

A program takes some rows of the matrix and walks all of their groups, so there are hundreds of programs even for small
matrices, and nothing is left to sum up. Tensor cores would multiply mostly zeros; each thread multiplies the codes that
it loaded, as they are, and a group's scale and minimum count once for its sum.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from sgl_jax.engine.quantization.formats import GROUP, PackFormat
from sgl_jax.engine.quantization.pallas_gpu.groups import Groups, Ref, fetch, halves

MOST_TOKENS = 4
_WARPS = 4
_ROWS, _GROUPS = 4, 128
"""Of a block, at most. A thread has 16 bytes of a group at a time, so a block is as wide as its threads are many, and
what a thread read of x serves all rows."""


def multiply(x: jax.Array, matrix: Groups, form: PackFormat, dtype: jnp.dtype, *, interpret: bool) -> jax.Array:
    """float[T, K] times the matrix transposed: dtype[T, N], summed in float32.

    Args:
        x: activations of at most `MOST_TOKENS` tokens.
        matrix, form: the codes and what they mean.
        dtype: of the result.
        interpret: compute with XLA what Triton would, for tests.
    """
    tokens, (outputs, num_groups, _) = x.shape[0], matrix.codes.shape
    groups = min(pl.next_power_of_2(num_groups), _GROUPS)
    # Each token takes registers for every row; narrow blocks have threads left for more rows.
    rows = (_ROWS if tokens <= 2 else _ROWS // 2) * min(_GROUPS // groups, 2)
    rows = min(rows, pl.next_power_of_2(outputs))
    result: jax.Array = pl.pallas_call(
        functools.partial(_kernel, form=form, rows=rows, groups=groups),
        out_shape=jax.ShapeDtypeStruct((tokens, outputs), dtype),
        grid=(pl.cdiv(outputs, rows),),
        compiler_params=triton.CompilerParams(num_warps=_WARPS, num_stages=1),
        interpret=interpret,
        name="packed_rows",
    )(x.reshape(tokens, num_groups, GROUP), matrix)
    return result


def _kernel(x: Ref, matrix: Groups, result: Ref, *, form: PackFormat, rows: int, groups: int) -> None:
    tokens = x.shape[0]
    outputs, num_groups, width = matrix.codes.shape
    output = pl.program_id(0) * rows + jnp.arange(rows)
    known = output < outputs
    place = jnp.arange(width)

    def block(index: jax.Array, totals: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        group = index * groups + jnp.arange(groups)
        there = group < num_groups
        live = known[:, None] & there[None, :]
        where = output[:, None, None], group[None, :, None], place[None, None, :]
        codes = fetch(matrix.codes, where, jnp.broadcast_to(live[:, :, None], (rows, groups, width)))
        scale = minimum = None
        if form.grouped:
            groups_a_scale = jnp.full_like(group, num_groups // matrix.scales.shape[1])
            own = output[:, None], lax.div(group, groups_a_scale)[None, :]
            scale = _float32(matrix.scales, own, live)
            minimum = None if matrix.minima is None else _float32(matrix.minima, own, live)
        parts = halves(codes, form)
        sums = []
        for token in range(tokens):
            dot, total = jnp.zeros((rows, groups), jnp.float32), jnp.zeros(groups, jnp.float32)
            for first, part in parts:
                at = jnp.full((groups, width), token), group[:, None], first + place[None, :]
                own_x = _float32(x, at, jnp.broadcast_to(there[:, None], (groups, width)))
                dot += jnp.sum(part * own_x[None], axis=2)
                total += jnp.sum(own_x, axis=1)
            dot = dot - form.zero * total[None] if form.zero else dot
            dot = dot if scale is None else dot * scale
            sums.append(dot if minimum is None else dot + minimum * total[None])
        return tuple(total + added for total, added in zip(totals, sums, strict=True))

    nothing = tuple(jnp.zeros((rows, groups), jnp.float32) for _ in range(tokens))
    totals = lax.fori_loop(0, pl.cdiv(num_groups, groups), block, nothing)
    scale = None if form.grouped else _float32(matrix.scales, (output,), known)
    for token, total in enumerate(totals):
        answer = jnp.sum(total, axis=1) if scale is None else jnp.sum(total, axis=1) * scale
        triton.store(result.at[jnp.full_like(output, token), output], answer.astype(result.dtype), mask=known)


def _float32(ref: Ref, where: tuple[jax.Array, ...], mask: jax.Array) -> jax.Array:
    return fetch(ref, where, mask).astype(jnp.float32)
