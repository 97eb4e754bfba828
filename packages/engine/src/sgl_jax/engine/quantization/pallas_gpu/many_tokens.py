"""Packed products of many tokens: tiles on tensor cores, with the codes unpacked on their way into them.

The matrix is the left factor, because Hopper's products take that one from registers, and because tiles of it may then
be 64 tall while there are sixteen tokens only. A group's scale is multiplied into its values before they are rounded to
the type of products, as in `matmul`: to multiply sums instead would take as long as the product does.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from sgl_jax.engine.quantization.formats import GROUP, PackFormat
from sgl_jax.engine.quantization.pallas_gpu.groups import Groups, Ref, fetch, halves

_LEAST = 16
"""Of a side of a product on tensor cores."""
_ENOUGH_PROGRAMS = 96
"""Of 132 multiprocessors."""


class Sizes(NamedTuple):
    """Static shape of a kernel.

    Attributes:
        outputs, tokens: of a program's tile of the answer.
        groups: of 32 values, that it adds up in one turn.
        warps, stages: Triton's parameters: warps a program, and turns in flight.
    """

    outputs: int
    tokens: int
    groups: int
    warps: int
    stages: int


def sizes_for(tokens: int, outputs: int, x_bytes: int) -> Sizes:
    """By arithmetic alone: nothing here was tuned on a GPU yet.

    Args:
        tokens, outputs: of the product.
        x_bytes: of an element of x.
    """
    tall = min(max(_LEAST, pl.next_power_of_2(tokens)), 128 if x_bytes == 2 else 32)
    wide = 128 if tall == 128 else 64
    # Fewer outputs a program read x more often, but keep more of the card at work.
    while wide > 32 and pl.cdiv(outputs, wide) * pl.cdiv(tokens, tall) < _ENOUGH_PROGRAMS:
        wide //= 2
    return Sizes(wide, tall, 4 if tall <= 64 and x_bytes == 2 else 2, 8 if wide * tall >= 128 * 64 else 4, 4)


def multiply(x: jax.Array, matrix: Groups, form: PackFormat, dtype: jnp.dtype, *, interpret: bool) -> jax.Array:
    """float[T, K] times the matrix transposed: dtype[T, N], summed in float32.

    Args:
        x: activations; products are of their type.
        matrix, form: the codes and what they mean; scales are those of groups.
        dtype: of the result.
        interpret: compute with XLA what Triton would, for tests.
    """
    tokens, outputs = x.shape[0], matrix.codes.shape[0]
    sizes = sizes_for(tokens, outputs, x.dtype.itemsize)
    result: jax.Array = pl.pallas_call(
        functools.partial(_kernel, form=form, sizes=sizes, interpret=interpret),
        out_shape=jax.ShapeDtypeStruct((tokens, outputs), dtype),
        # Tiles of one part of the matrix run side by side, so that it is read from memory once.
        grid=(pl.cdiv(tokens, sizes.tokens), pl.cdiv(outputs, sizes.outputs)),
        compiler_params=triton.CompilerParams(num_warps=sizes.warps, num_stages=sizes.stages),
        interpret=interpret,
        name="packed_tiles",
    )(x, matrix)
    return result


def _kernel(x: Ref, matrix: Groups, result: Ref, *, form: PackFormat, sizes: Sizes, interpret: bool) -> None:
    tokens, inputs = x.shape
    outputs, num_groups, width = matrix.codes.shape
    groups_a_scale = num_groups // matrix.scales.shape[1]
    token = pl.program_id(0) * sizes.tokens + jnp.arange(sizes.tokens)
    output = pl.program_id(1) * sizes.outputs + jnp.arange(sizes.outputs)
    asked, known = token < tokens, output < outputs
    place, column = jnp.arange(width), jnp.arange(sizes.groups * width)
    shape = (sizes.outputs, sizes.groups, width)

    def turn(index: jax.Array, total: jax.Array) -> jax.Array:
        group = index * sizes.groups + jnp.arange(sizes.groups)
        live = known[:, None] & (group < num_groups)[None, :]
        where = output[:, None, None], group[None, :, None], place[None, None, :]
        codes = fetch(matrix.codes, where, jnp.broadcast_to(live[:, :, None], shape))
        own = output[:, None], lax.div(group, jnp.full_like(group, groups_a_scale))[None, :]
        scale = fetch(matrix.scales, own, live).astype(jnp.float32)
        shift = -form.zero * scale
        if matrix.minima is not None:
            shift = shift + fetch(matrix.minima, own, live).astype(jnp.float32)
        # Where a byte's values stand in x: a group's first half, or its second.
        in_x = lax.div(column, jnp.full_like(column, width)) * GROUP + lax.rem(column, jnp.full_like(column, width))
        for first, part in halves(codes, form):
            values = part * scale[:, :, None] + shift[:, :, None]
            values = values.astype(x.dtype).reshape(sizes.outputs, -1)
            at = index * sizes.groups * GROUP + first + in_x
            there = (at < inputs)[:, None] & asked[None, :]
            own_x = fetch(x, (token[None, :], at[:, None]), there)
            total = total + _dot(values, own_x, interpret)
        return total

    total = lax.fori_loop(
        0, pl.cdiv(num_groups, sizes.groups), turn, jnp.zeros((sizes.outputs, sizes.tokens), jnp.float32)
    )
    mask = known[:, None] & asked[None, :]
    triton.store(result.at[token[None, :], output[:, None]], total.astype(result.dtype), mask=mask)


def _dot(a: jax.Array, b: jax.Array, interpret: bool) -> jax.Array:
    """[N, C] times [C, T], in float32."""
    precision = None
    if a.dtype == jnp.float32:
        # Three products of tensor cores instead of one, to keep what float32 promises; the CPU knows no such name.
        precision = lax.Precision.HIGHEST if interpret else lax.DotAlgorithmPreset.TF32_TF32_F32_X3
    return lax.dot_general(a, b, (((1,), (0,)), ((), ())), precision=precision, preferred_element_type=jnp.float32)
