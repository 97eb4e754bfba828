"""Keys and values in and out of their paged storage.

XLA's CPU backend does not update bfloat16 buffers in place (measured on jax 0.10: the step's cost
grows with the pool), so there bfloat16 is stored as its bit pattern in uint16.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax


def stored_dtype(dtype: jnp.dtype, platform: str) -> jnp.dtype:
    """The element type that holds `dtype` in a KV pool on `platform`."""
    if platform == "cpu" and dtype == jnp.bfloat16:
        return jnp.dtype(jnp.uint16)
    return jnp.dtype(dtype)


def write(pages: jax.Array, values_tkd: jax.Array, slots: jax.Array) -> jax.Array:
    """Writes each token's vector to its place; in place when `pages` is donated.

    Args:
        pages: storage[P, S, K, D].
        values_tkd: float[T, K, D].
        slots: int32[T], page * S + offset; distinct; those outside the pool are dropped.
    """
    flat = pages.reshape(-1, *pages.shape[2:])
    flat = flat.at[slots].set(encode(values_tkd, pages.dtype), mode="drop", unique_indices=True)
    return flat.reshape(pages.shape)


def encode(values: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Brings float values into the stored element type."""
    if dtype == jnp.uint16:
        return lax.bitcast_convert_type(values.astype(jnp.bfloat16), jnp.uint16)
    return values.astype(dtype)


def decode(stored: jax.Array) -> jax.Array:
    """Reads stored values as floats (float32 where the storage is a bit pattern)."""
    if stored.dtype == jnp.uint16:
        return lax.bitcast_convert_type(stored.astype(jnp.uint32) << 16, jnp.float32)
    return stored
