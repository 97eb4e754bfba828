"""Products of many small groups of rows with a matrix each, in one kernel for GPUs (Pallas, Triton).

XLA expands `ragged_dot` on GPUs to a dense product of all rows with all experts. Here a program computes a tile of one
block's answer: which expert that is, it reads from the blocks' list. Blocks that there are not cost a program that
stops at once; at decoding, time goes into reading the matrices of the experts that are asked, each once.

Axis letters: as in `moe`, and M blocks, C inputs, O outputs.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

Ref: TypeAlias = Any
"""What a kernel is given for an array; JAX has no public type for it."""
_WARPS, _STAGES = 4, 4
_OUTPUTS, _INPUTS = 64, 64
"""Of a tile, at most: with 128 rows, 32 KiB of factors a stage in bfloat16."""


class _Sizes(NamedTuple):
    """Of a program's tile of the answer, and of what it adds up in one turn."""

    rows: int
    outputs: int
    inputs: int


def grouped_matmul(
    x: jax.Array,
    weight: jax.Array,
    scale: jax.Array | None,
    expert: jax.Array,
    live: jax.Array,
    *,
    meaning: jnp.dtype | None = None,
    interpret: bool = False,
) -> jax.Array:
    """Implements `moe.GroupedProduct`; with `interpret`, XLA computes what Triton would, for tests."""
    num_outputs, num_inputs = weight.shape[1:]
    outputs, inputs = min(_OUTPUTS, _power(num_outputs)), min(_INPUTS, _power(num_inputs))
    sizes = _Sizes(x.shape[0] // expert.shape[0], outputs, inputs)
    body = functools.partial(_kernel, sizes=sizes, meaning=meaning, interpret=interpret)
    call = pl.pallas_call(
        body,
        out_shape=jax.ShapeDtypeStruct((x.shape[0], num_outputs), x.dtype),
        grid=(expert.shape[0], pl.cdiv(num_outputs, outputs)),
        compiler_params=triton.CompilerParams(num_warps=_WARPS, num_stages=_STAGES),
        interpret=interpret,
        name="grouped_matmul",
    )
    result: jax.Array = call(x, weight, scale, expert, live.reshape(1))
    return result


def _kernel(
    x: Ref,
    weight: Ref,
    scale: Ref | None,
    expert: Ref,
    live: Ref,
    result: Ref,
    *,
    sizes: _Sizes,
    meaning: jnp.dtype | None,
    interpret: bool,
) -> None:
    rows, outputs, inputs = sizes
    block, tile = pl.program_id(0), pl.program_id(1)
    num_outputs, num_inputs = weight.shape[1:]
    row = block * rows + jnp.arange(rows)
    output = tile * outputs + jnp.arange(outputs)
    owner = jnp.full_like(output, expert[block])
    known = output < num_outputs

    def step(index: jax.Array, total: jax.Array) -> jax.Array:
        place = index * inputs + jnp.arange(inputs)
        seen = (place < num_inputs)[None, :]
        # The interpreter knows indexing by arrays alone, or by slices alone.
        factors = triton.load(x.at[row[:, None], place[None, :]], mask=seen, other=0)
        there = known[:, None] & seen
        matrix = triton.load(weight.at[owner[:, None], output[:, None], place[None, :]], mask=there, other=0)
        if meaning is not None:
            matrix = lax.bitcast_convert_type(matrix, meaning)
        return total + _dot(factors, matrix.astype(factors.dtype), interpret)

    # A product, not a choice: JAX gives the constants of a choice its condition's type, which Triton refuses later.
    steps = (block < live[0]).astype(jnp.int32) * pl.cdiv(num_inputs, inputs)
    total = lax.fori_loop(0, steps, step, jnp.zeros((rows, outputs), jnp.float32))
    if scale is not None:
        total = total * triton.load(scale.at[owner, output], mask=known, other=0)[None, :]
    triton.store(result.at[row[:, None], output[None, :]], total.astype(result.dtype), mask=known[None, :])


def _dot(a: jax.Array, b: jax.Array, interpret: bool) -> jax.Array:
    """[N, C] times [O, C] transposed, in float32."""
    precision = None
    if a.dtype == jnp.float32:
        # Three products of tensor cores instead of one, to keep what float32 promises; the CPU knows no such name.
        precision = lax.Precision.HIGHEST if interpret else lax.DotAlgorithmPreset.TF32_TF32_F32_X3
    return lax.dot_general(a, b, (((1,), (1,)), ((), ())), precision=precision, preferred_element_type=jnp.float32)


def _power(number: int) -> int:
    """The smallest power of two that is not below it, and at least 16, as Triton's products are."""
    return max(pl.next_power_of_2(number), 16)
