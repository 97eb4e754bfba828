"""The kernels as JAX functions. `library.load` must have succeeded before one of them runs."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sgl_jax.engine.cpu_kernels.layout import COLUMNS, FORMATS

__all__ = ["ACTIVATIONS", "COLUMNS", "Norm", "Stack", "finish_block", "matmul", "take_rows"]

ACTIVATIONS = ("silu", "gelu_pytorch_tanh")
"""Of gated feed-forward blocks; a name's place is its number in src/matmul.h."""
_NONE = np.zeros(0, np.float32)


class Stack(NamedTuple):
    """Matrices [out, in] of one shape.

    Attributes:
        tiles: all of them, see `layout.arrange`; leading axes count matrices.
        form: how they are arranged.
        rows: `out`.
    """

    tiles: jax.Array
    form: str
    rows: int


class Norm(NamedTuple):
    """A root-mean-square norm over all of a row, before a product.

    Attributes:
        scale: float32[in], what the normalised row is multiplied by.
        eps: added to the mean square.
    """

    scale: jax.Array
    eps: float


def matmul(
    x: jax.Array,
    stack: Stack,
    index: jax.Array,
    *,
    exact: bool,
    norm: Norm | None = None,
    bias: jax.Array | None = None,
    counts: jax.Array | None = None,
) -> jax.Array:
    """float[T, in] times a matrix [out, in] transposed: float32[T, out].

    Args:
        x: activations.
        stack: of matrices. The buffer is passed as it is: nothing is cut out of it.
        index: int32[], which of them is meant.
        exact: x meets a grouped matrix as float32; else as eight bits with a scale for each group of 32, or, rows of
            prompts where the processor has AMX, as bfloat16.
        norm: x is normalised before.
        bias: float[out], added at the end.
        counts: int32[2], how many rows of x count, and how many of these, the first, are not of prompts; rows that do
            not count become zeros. None takes all, and none as a prompt's.
    """
    call = jax.ffi.ffi_call("sgl_matmul", jax.ShapeDtypeStruct((x.shape[0], stack.rows), jnp.float32))
    product: jax.Array = call(
        x.astype(jnp.float32),
        _NONE if norm is None else norm.scale.astype(jnp.float32),
        _NONE if bias is None else bias.astype(jnp.float32),
        stack.tiles,
        index,
        _counts(x, counts),
        format=_number(stack.form),
        exact=exact,
        eps=np.float32(0.0 if norm is None else norm.eps),
    )
    return product


def finish_block(
    hidden: jax.Array,
    attended: jax.Array,
    output: Stack,
    norm: Norm,
    gate_up: Stack,
    down: Stack,
    index: jax.Array,
    *,
    activation: str,
    exact: bool,
    counts: jax.Array | None,
) -> jax.Array:
    """hidden + output(attended), then + down(activation(gate) * up) of the norm of that, as one call.

    Args:
        hidden: float32[T, size], the residual stream.
        attended: float[T, H * D], what attention gave.
        output, gate_up, down: stacks of the block's matrices; gates lie before ups, a multiple of 16 each.
        norm: before the feed-forward half.
        index: int32[], which matrix of each stack.
        activation: one of `ACTIVATIONS`.
        exact: as in `matmul`.
        counts: as in `matmul`.

    Returns:
        float32[T, size].
    """
    result = jax.ShapeDtypeStruct(hidden.shape, jnp.float32)
    # In place, so that a loop over layers need not copy what it carries.
    call = jax.ffi.ffi_call("sgl_finish_block", result, input_output_aliases={0: 0})
    finished: jax.Array = call(
        hidden.astype(jnp.float32),
        attended.astype(jnp.float32),
        norm.scale.astype(jnp.float32),
        output.tiles,
        gate_up.tiles,
        down.tiles,
        index,
        _counts(hidden, counts),
        output_format=_number(output.form),
        gate_up_format=_number(gate_up.form),
        down_format=_number(down.form),
        exact=exact,
        eps=np.float32(norm.eps),
        inner=np.int64(gate_up.rows // 2),
        activation=np.int64(ACTIVATIONS.index(activation)),
    )
    return finished


def _counts(x: jax.Array, counts: jax.Array | None) -> jax.Array | np.ndarray:
    return np.full(2, x.shape[0], np.int32) if counts is None else counts


def take_rows(tiles: jax.Array, index: jax.Array, indices: jax.Array, form: str, shape: tuple[int, int]) -> jax.Array:
    """float32[T, in]: rows int32[T] of the matrix [out, in]; indices past the ends are clamped."""
    rows, width = shape
    call = jax.ffi.ffi_call("sgl_take_rows", jax.ShapeDtypeStruct((indices.shape[0], width), jnp.float32))
    taken: jax.Array = call(tiles, index, indices.astype(jnp.int32), format=_number(form), n=np.int64(rows))
    return taken


def _number(form: str) -> np.int64:
    return np.int64(FORMATS.index(form))
