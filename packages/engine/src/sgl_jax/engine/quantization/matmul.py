"""Products with packed matrices. The one seam where a backend's own kernels go in; the rest is plain XLA.

On CPU a loop takes `TILE_BYTES` worth of rows at a time, so that no temporary grows with the matrix and values stay in
the processor's cache. Elsewhere the compiler is given the whole expression: it folds the unpacking into its matmul
where it can, and a loop would break the step's CUDA graph.

On CUDA, steps of many tokens multiply float8 matrices with float8 activations, at twice the rate of bfloat16 (by
cuBLASLt or Triton, whichever XLA finds faster): each token has a scale of its own, found on the way. Steps of few
tokens wait for the weights, not for the products: there activations stay as they are, and nothing is rounded twice.

Two codes of a byte are never put next to each other. Low and high halves are two matrices of half the width, and each
meets the half of x that belongs to it. Laying values side by side takes XLA ten times as long as all the rest.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from sgl_jax.engine.quantization.formats import GROUP, PackFormat
from sgl_jax.engine.quantization.matrix import Packed, Parts, meant
from sgl_jax.engine.quantization.tiled import Tiled, tiled_matmul

TILE_BYTES = 4 << 20
"""Unpacked values in flight on CPU, at most. A megabyte loses a third of the speed, no bound wins nothing."""
LEAST_FLOAT8_TOKENS = 256
"""From here on a GPU's products take longer than the reading of their weights."""


def packed_matmul(x: jax.Array, packed: Packed | Tiled, rounds_to: jnp.dtype | None = None) -> jax.Array:
    """float[T, in] times packed[out, in] transposed: float32[T, out].

    x and the unpacked values meet in `packed.dtype` and are summed in float32; where the CPU's native kernels
    serve, `Tiling` says in which type they meet.

    Args:
        x, packed: the factors.
        rounds_to: what the caller makes of the result at once; a kernel may then do so itself.
    """
    if isinstance(packed, Tiled):
        return tiled_matmul(x, packed)
    if packed.product is not None:
        found = packed.product(x, packed, jnp.dtype(rounds_to or jnp.float32))
        if found is not None:
            return found
    product = functools.partial(_product, packed.form, packed.dtype)
    by_tiles = functools.partial(_by_tiles, product, _tile_rows(packed))
    in_float8 = multiplies_in_float8(packed.form, x.shape[0])
    on_cuda = functools.partial(product_in_float8, packed.form) if in_float8 else product
    return lax.platform_dependent(x, packed.parts, cpu=by_tiles, cuda=on_cuda, default=product)


def multiplies_in_float8(form: PackFormat, tokens: int) -> bool:
    """Whether a GPU rounds the activations of so many tokens to the type that the codes mean."""
    return form.meaning is not None and tokens >= LEAST_FLOAT8_TOKENS


def product_in_float8(form: PackFormat, x: jax.Array, parts: Parts) -> jax.Array:
    """The product with x rounded to the type that the codes mean, a scale a token."""
    assert form.meaning is not None
    x = x.astype(jnp.float32)
    largest = jnp.max(jnp.abs(x), axis=-1, keepdims=True)
    scale = jnp.where(largest > 0, largest / form.limit, 1.0)
    # The division may round to a hair above the limit, which would be a NaN.
    codes = jnp.clip(x / scale, -form.limit, form.limit).astype(form.meaning)
    return _dot(codes, meant(parts["codes"], form)) * scale * parts["scales"]


def _tile_rows(packed: Packed) -> int:
    # Halves of paired codes are unpacked one after the other, so the codes' own width is what counts.
    width = packed.parts["codes"].shape[-1] * packed.dtype.itemsize
    return max(TILE_BYTES // width, 1)


def _by_tiles(product: functools.partial[jax.Array], tile_rows: int, x: jax.Array, parts: Parts) -> jax.Array:
    rows = parts["codes"].shape[0]
    if rows <= tile_rows:
        return product(x, parts)

    def tile(index: jax.Array, out: jax.Array) -> jax.Array:
        # The last tile ends with the matrix; what it shares with the one before is computed twice, alike.
        start = jnp.minimum(index * tile_rows, rows - tile_rows)
        own = {name: lax.dynamic_slice_in_dim(part, start, tile_rows) for name, part in parts.items()}
        return lax.dynamic_update_slice_in_dim(out, product(x, own), start, axis=1)

    return lax.fori_loop(0, -(-rows // tile_rows), tile, jnp.zeros((x.shape[0], rows), jnp.float32))


def _product(form: PackFormat, dtype: jnp.dtype, x: jax.Array, parts: Parts) -> jax.Array:
    codes = parts["codes"]
    if not form.grouped:
        return _dot(x.astype(dtype), meant(codes, form).astype(dtype)) * parts["scales"]
    tokens, rows = x.shape[0], codes.shape[0]
    x_groups = x.reshape(tokens, -1, GROUP)
    pairs = [(x_groups, codes)]
    if form.paired:
        pairs = [(x_groups[..., : GROUP // 2], codes & 0x0F), (x_groups[..., GROUP // 2 :], codes >> 4)]
    scales = parts["scales"].astype(jnp.float32)[:, :, None]
    out = jnp.zeros((tokens, rows), jnp.float32)
    for x_part, code_part in pairs:
        values = (code_part.reshape(rows, scales.shape[1], -1).astype(jnp.float32) - form.zero) * scales
        out += _dot(x_part.reshape(tokens, -1).astype(dtype), values.reshape(rows, -1).astype(dtype))
    if form.has_minima:
        # The minimum of a group counts once for the sum of its x.
        sums = x_groups.astype(jnp.float32).sum(-1)
        out += _dot(sums, parts["minima"].astype(jnp.float32))
    return out


def _dot(x: jax.Array, weight: jax.Array) -> jax.Array:
    return lax.dot_general(x, weight, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32)
