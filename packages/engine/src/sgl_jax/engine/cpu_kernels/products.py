"""The kernels as JAX functions. `library.load` must have succeeded before one of them runs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from sgl_jax.engine.cpu_kernels.layout import FORMATS


def matmul(x: jax.Array, tiles: jax.Array, index: jax.Array, form: str, rows: int, *, exact: bool) -> jax.Array:
    """float[T, in] times the matrix [out, in] transposed: float32[T, out].

    Args:
        x: activations.
        tiles: arranged matrices, see `layout.arrange`; leading axes count matrices.
        index: int32[], which of them is meant. The buffer is passed as it is: nothing is cut out of it.
        form: how they are arranged.
        rows: `out`.
        exact: x meets a grouped matrix as float32; else as eight bits with a scale for each group of 32.
    """
    call = jax.ffi.ffi_call("sgl_matmul", jax.ShapeDtypeStruct((x.shape[0], rows), jnp.float32))
    product: jax.Array = call(x.astype(jnp.float32), tiles, index, format=_number(form), exact=exact)
    return product


def take_rows(tiles: jax.Array, index: jax.Array, indices: jax.Array, form: str, shape: tuple[int, int]) -> jax.Array:
    """float32[T, in]: rows int32[T] of the matrix [out, in]; indices past the ends are clamped."""
    rows, width = shape
    call = jax.ffi.ffi_call("sgl_take_rows", jax.ShapeDtypeStruct((indices.shape[0], width), jnp.float32))
    taken: jax.Array = call(tiles, index, indices.astype(jnp.int32), format=_number(form), n=np.int64(rows))
    return taken


def _number(form: str) -> np.int64:
    return np.int64(FORMATS.index(form))
