"""Paged attention, and the writing of keys and values, by this package's own C++ kernels for CPU.

What they do and how they share the work out is said in `cpu_kernels/src/attention*` and `kv_write_ffi.h`. Cost follows
the live keys; what a sequence gets does not depend on the batch it is in, nor on the number of threads.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from sgl_jax.engine.attention.api import HeadNorms, Pages, RaggedRows
from sgl_jax.engine.attention.xla import xla_attention

_ELEMENTS = {
    jnp.dtype(name): number
    for number, name in enumerate(("float32", "bfloat16", "float8_e4m3fn", "float8_e5m2", "int8"))
}
"""The kernels' numbers of formats, `Element` in attention.h."""
_MOST_GROUPS = 8
"""Query heads a key head that a kernel for single tokens takes, kSingleGroups in attention.h."""
_NO_WINDOW = np.int32(1 << 30)
_NONE = np.zeros(0, np.float32)


def native_write(pages: Pages, vectors_tkd: jax.Array, slots: jax.Array) -> Pages:
    """`kv_write.write` by the native kernels, which must be loaded: to the bit the same, and always in place."""
    element = np.int64(_ELEMENTS[pages.dtype])
    stored = jax.ShapeDtypeStruct(pages.stored.shape, pages.stored.dtype)
    vectors_tkd = vectors_tkd.astype(jnp.float32)
    if pages.scale is None:
        call = jax.ffi.ffi_call("sgl_kv_write", stored, input_output_aliases={2: 0})
        return Pages(call(vectors_tkd, slots, pages.stored, element=element), None, pages.dtype)
    results = stored, jax.ShapeDtypeStruct(pages.scale.shape, jnp.float32)
    scaled = jax.ffi.ffi_call("sgl_kv_write_scaled", results, input_output_aliases={2: 0, 3: 1})
    elements, scale = scaled(vectors_tkd, slots, pages.stored, pages.scale, element=element)
    return Pages(elements, scale, pages.dtype)


def native_copy_pages(pool: jax.Array, copies: jax.Array, *, num_pages: int) -> jax.Array:
    """A pool [layers * num_pages, ...] after copies of pages in every layer, in place; see `copy_pages.pack_copies`."""
    call = jax.ffi.ffi_call("sgl_copy_pages", jax.ShapeDtypeStruct(pool.shape, pool.dtype), input_output_aliases={0: 0})
    return call(pool, copies, pages=np.int64(num_pages))


def native_store_projected(
    qkv_tf: jax.Array,
    key_pages: Pages,
    value_pages: Pages,
    slots: jax.Array,
    rope: tuple[jax.Array, jax.Array],
    *,
    heads: tuple[int, int, int],
    norms: HeadNorms | None,
) -> tuple[jax.Array, Pages, Pages] | None:
    """Norms, rotation and write by one native kernel; see `api.StoreProjected`."""
    if not _one_plain_format(key_pages, value_pages):
        return None
    pools = [jax.ShapeDtypeStruct(pages.stored.shape, pages.stored.dtype) for pages in (key_pages, value_pages)]
    queries = jax.ShapeDtypeStruct((qkv_tf.shape[0], heads[0], heads[2]), jnp.float32)
    call = jax.ffi.ffi_call("sgl_store_projected", (queries, *pools), input_output_aliases={6: 1, 7: 2})
    query, keys, values = call(
        qkv_tf.astype(jnp.float32),
        *rope,
        *_norm_scales(norms),
        slots,
        key_pages.stored,
        value_pages.stored,
        element=np.int64(_ELEMENTS[key_pages.dtype]),
        eps=np.float32(0.0 if norms is None else norms.eps),
    )
    return (
        query.astype(qkv_tf.dtype),
        Pages(keys, None, key_pages.dtype),
        Pages(values, None, value_pages.dtype),
    )


def native_attend_projected(
    qkv_tf: jax.Array,
    key_pages: Pages,
    value_pages: Pages,
    rows: RaggedRows,
    rope: tuple[jax.Array, jax.Array],
    *,
    heads: tuple[int, int, int],
    norms: HeadNorms | None,
    scale: float,
    window: jax.Array | int | None,
    softcap: float | None,
    sinks: jax.Array | None,
    page_offset: jax.Array | int,
) -> tuple[jax.Array, Pages, Pages] | None:
    """From the product for q, k and v to what attention gives by one native kernel; see `api.AttendProjected`."""
    num_heads, num_kv_heads, d = heads
    if d % 2 or num_heads > _MOST_GROUPS * num_kv_heads or not _one_plain_format(key_pages, value_pages):
        return None
    pools = [jax.ShapeDtypeStruct(pages.stored.shape, pages.stored.dtype) for pages in (key_pages, value_pages)]
    attended = jax.ShapeDtypeStruct((qkv_tf.shape[0], num_heads, d), jnp.float32)
    call = jax.ffi.ffi_call("sgl_attend_projected", (attended, *pools), input_output_aliases={5: 1, 6: 2})
    out, keys, values = call(
        qkv_tf.astype(jnp.float32),
        *rope,
        *_norm_scales(norms),
        key_pages.stored,
        value_pages.stored,
        *rows,
        _NO_WINDOW if window is None else jnp.asarray(window, jnp.int32),
        jnp.asarray(page_offset, jnp.int32),
        _NONE if sinks is None else sinks.astype(jnp.float32),
        element=np.int64(_ELEMENTS[key_pages.dtype]),
        eps=np.float32(0.0 if norms is None else norms.eps),
        scale=np.float32(scale),
        softcap=np.float32(softcap or 0.0),
    )
    return out, Pages(keys, None, key_pages.dtype), Pages(values, None, value_pages.dtype)


def _one_plain_format(key_pages: Pages, value_pages: Pages) -> bool:
    return key_pages.scale is None and value_pages.scale is None and key_pages.dtype == value_pages.dtype


def _norm_scales(norms: HeadNorms | None) -> tuple[jax.Array | np.ndarray, jax.Array | np.ndarray]:
    if norms is None:
        return _NONE, _NONE
    return norms.query.astype(jnp.float32), norms.key.astype(jnp.float32)


def native_attention(
    query_thd: jax.Array,
    key_pages: Pages,
    value_pages: Pages,
    rows: RaggedRows,
    *,
    scale: float,
    window: jax.Array | int | None = None,
    softcap: float | None = None,
    sinks: jax.Array | None = None,
    page_offset: jax.Array | int = 0,
    single_token_rows: bool = False,
    exact: bool = False,
) -> jax.Array:
    """Attention by the native kernels, which must be loaded; see `api.AttentionBackend`.

    Args:
        exact: queries and weights of prompts stay float32. Else they meet keys and values in bfloat16, where the
            processor multiplies that faster and the pool holds no floats.
    """
    if query_thd.shape[-1] % 2:  # the kernels read pairs
        return xla_attention(
            *(query_thd, key_pages, value_pages, rows),
            scale=scale,
            window=window,
            softcap=softcap,
            sinks=sinks,
            page_offset=page_offset,
            single_token_rows=single_token_rows,
        )
    call = jax.ffi.ffi_call("sgl_attention", jax.ShapeDtypeStruct(query_thd.shape, jnp.float32))
    return call(
        query_thd.astype(jnp.float32),
        key_pages.stored,
        _NONE if key_pages.scale is None else key_pages.scale,
        value_pages.stored,
        _NONE if value_pages.scale is None else value_pages.scale,
        *rows,
        _NO_WINDOW if window is None else jnp.asarray(window, jnp.int32),
        jnp.asarray(page_offset, jnp.int32),
        _NONE if sinks is None else sinks.astype(jnp.float32),
        element=np.int64(_ELEMENTS[key_pages.dtype]),
        scale=np.float32(scale),
        softcap=np.float32(softcap or 0.0),
        exact=exact,
    )
