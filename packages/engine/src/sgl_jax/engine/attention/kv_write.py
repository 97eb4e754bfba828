"""Keys and values in and out of their paged storage.

Storage must be updated in place, or a step's cost grows with the pool. XLA converts a whole bfloat16
pool to float32 and back to write one token on CPU (measured on jax 0.10), and a whole float8 pool
likewise, so there the storage holds their bit patterns.

Formats:

- float32, bfloat16: as they are.
- float8_e4m3fn, float8_e5m2 (Micikevicius et al. 2022, "FP8 Formats for Deep Learning"): rounded to the
  nearest; what lies beyond the format's largest number becomes that number.
- int8: each vector (a token's, of one head) is divided by its own scale, largest magnitude / 127.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from sgl_jax.engine.attention.api import Pages

_INT8_MAX = 127.0


def stored_dtype(dtype: jnp.dtype, platform: str) -> jnp.dtype:
    """The element type that holds `dtype` in a KV pool on `platform`."""
    if _is_float8(dtype):
        return jnp.dtype(jnp.uint8)
    if platform == "cpu" and dtype == jnp.bfloat16:
        return jnp.dtype(jnp.uint16)
    return jnp.dtype(dtype)


def vector_bytes(head_dim: int, dtype: jnp.dtype) -> int:
    """Bytes that one vector takes, its scale included."""
    return head_dim * dtype.itemsize + (4 if dtype == jnp.int8 else 0)


def make_pages(
    shape: tuple[int, int, int, int],
    dtype: jnp.dtype,
    device: jax.Device,
    sharding: jax.sharding.Sharding | None = None,
) -> Pages:
    """Zeroed pages [P, S, K, D] of the format that `dtype` names, on a device or spread over several like it."""
    where = sharding or device
    stored = jnp.zeros(shape, stored_dtype(dtype, device.platform), device=where)
    scale = jnp.zeros(shape[:-1], jnp.float32, device=where) if dtype == jnp.int8 else None
    return Pages(stored, scale, jnp.dtype(dtype))


def write(pages: Pages, vectors_tkd: jax.Array, slots: jax.Array) -> Pages:
    """Writes each token's vectors to their place; in place when `pages` is donated.

    Args:
        pages: of P pages.
        vectors_tkd: float[T, K, D].
        slots: int32[T], page * S + offset; distinct; those outside the pool are dropped.
    """
    stored, scale = encode(vectors_tkd, pages)
    if pages.scale is not None and scale is not None:
        scale = _scatter(pages.scale, scale, slots)
    return Pages(_scatter(pages.stored, stored, slots), scale, pages.dtype)


def read(pages: Pages, page_ids: jax.Array) -> jax.Array:
    """float[..., S, K, D] of int32[...] page ids: float32, or bfloat16 where it is stored as such."""
    return decode(pages.stored[page_ids], None if pages.scale is None else pages.scale[page_ids], pages.dtype)


def encode(vectors: jax.Array, pages: Pages) -> tuple[jax.Array, jax.Array | None]:
    """Brings float[..., D] into the stored form: the elements, and their scales float32[...] if it has any."""
    if pages.scale is not None:
        vectors = vectors.astype(jnp.float32)
        scale = jnp.max(jnp.abs(vectors), axis=-1) / _INT8_MAX
        divisor = jnp.where(scale > 0, scale, 1.0)[..., None]
        return jnp.round(vectors / divisor).astype(jnp.int8), scale
    if _is_float8(pages.dtype):
        largest = float(jnp.finfo(pages.dtype).max)
        vectors = jnp.clip(vectors.astype(jnp.float32), -largest, largest)
    vectors = vectors.astype(pages.dtype)
    if pages.stored.dtype != pages.dtype:
        vectors = lax.bitcast_convert_type(vectors, pages.stored.dtype)
    return vectors, None


def decode(stored: jax.Array, scale: jax.Array | None, dtype: jnp.dtype) -> jax.Array:
    """The inverse of `encode`, up to its rounding."""
    if scale is not None:
        return stored.astype(jnp.float32) * scale[..., None]
    if stored.dtype == jnp.uint16:  # cheaper than the conversion that XLA has for bfloat16 on CPU
        return lax.bitcast_convert_type(stored.astype(jnp.uint32) << 16, jnp.float32)
    if stored.dtype != dtype:
        return lax.bitcast_convert_type(stored, dtype).astype(jnp.float32)
    return stored


def _scatter(pages: jax.Array, values: jax.Array, slots: jax.Array) -> jax.Array:
    flat = pages.reshape(-1, *pages.shape[2:])
    return flat.at[slots].set(values, mode="drop", unique_indices=True).reshape(pages.shape)


def _is_float8(dtype: jnp.dtype) -> bool:
    return dtype in (jnp.dtype(jnp.float8_e4m3fn), jnp.dtype(jnp.float8_e5m2))
