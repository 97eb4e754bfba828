"""From the product for q, k and v to stored keys, in one GPU kernel: norms, rotation and the write into the pages.

XLA makes five kernels of it (for an H200, jax 0.10.2): two writes, two norms with their rotation, and a copy of the
queries. At one sequence the launches cost more than the work. Rounding is that of the plain path: each of its stages
ends in the type of the activations.

One program turns `_block_tokens` vectors of one head. The first H heads are queries, then come K of keys and of values.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plt

from sgl_jax.engine.attention.api import HeadNorms, Pages
from sgl_jax.engine.attention.pallas_gpu.limits import beyond_indices

Ref = Any
"""A reference into device memory, as Pallas hands it to a kernel."""
_MOST_DECODE_TOKENS = 64
_INT8_MAX = 127.0


def store_projected(
    qkv_tf: jax.Array,
    key_pages: Pages,
    value_pages: Pages,
    slots: jax.Array,
    rope: tuple[jax.Array, jax.Array],
    *,
    heads: tuple[int, int, int],
    norms: HeadNorms | None,
    interpret: bool = False,
) -> tuple[jax.Array, Pages, Pages] | None:
    """See `api.StoreProjected`; serves head dimensions that are powers of two and turned as a whole."""
    num_heads, num_kv_heads, d = heads
    if beyond_indices(key_pages) or 2 * rope[0].shape[-1] != d or d & (d - 1) or d < 2:
        return None
    num_tokens = qkv_tf.shape[0]
    block = _block_tokens(num_tokens)
    pools = _pool_arrays(key_pages, value_pages)
    weights = () if norms is None else (norms.query, norms.key)
    operands = (qkv_tf, *rope, slots, *weights)
    kernel = functools.partial(
        _kernel,
        heads=heads,
        block=block,
        eps=None if norms is None else norms.eps,
        num_inputs=len(operands),
        num_pools=len(pools),
        dtype=key_pages.dtype,
    )
    query, *stored = pl.pallas_call(
        kernel,
        grid=(pl.cdiv(num_tokens, block), num_heads + 2 * num_kv_heads),
        out_shape=[
            jax.ShapeDtypeStruct((num_tokens, num_heads, d), qkv_tf.dtype),
            *(jax.ShapeDtypeStruct(pool.shape, pool.dtype) for pool in pools),
        ],
        input_output_aliases={len(operands) + index: 1 + index for index in range(len(pools))},
        compiler_params=plt.CompilerParams(num_warps=1 if block == 1 else 4, num_stages=1),
        interpret=interpret,
        name="store_projected",
    )(*operands, *pools)
    keys, values, *scales = stored
    key_scale, value_scale = scales or (None, None)
    return query, _as_pages(key_pages, keys, key_scale), _as_pages(value_pages, values, value_scale)


def _block_tokens(num_tokens: int) -> int:
    """Few programs for long prompts, many for the few vectors of a decode step."""
    return 1 if num_tokens <= _MOST_DECODE_TOKENS else 8


def _pool_arrays(keys: Pages, values: Pages) -> list[jax.Array]:
    """Storage[P * S, K, D] of keys and values, then their scales[P * S, K] where the format has them."""
    arrays = [pages.stored.reshape(-1, *pages.shape[2:]) for pages in (keys, values)]
    return arrays + [pages.scale.reshape(-1, pages.shape[2]) for pages in (keys, values) if pages.scale is not None]


def _as_pages(before: Pages, stored: jax.Array, scale: jax.Array | None) -> Pages:
    if before.scale is not None and scale is not None:
        scale = scale.reshape(before.scale.shape)
    return Pages(stored.reshape(before.shape), scale, before.dtype)


def _kernel(
    *refs: Ref,
    heads: tuple[int, int, int],
    block: int,
    eps: float | None,
    num_inputs: int,
    num_pools: int,
    dtype: jnp.dtype,
) -> None:
    num_heads, num_kv_heads, d = heads
    qkv_ref, cos_ref, sin_ref, slot_ref, *norm_refs = refs[:num_inputs]
    query_ref, *pool_refs = refs[num_inputs + num_pools :]
    key_ref, value_ref, *scale_refs = pool_refs
    activation = query_ref.dtype
    token = pl.program_id(0) * block + jnp.arange(block)
    head = pl.program_id(1)
    live = token < qkv_ref.shape[0]
    row = jnp.where(live, token, 0)
    pair = jnp.arange(d // 2)
    # Halves apart from each other, because a rotation pairs dimension i with i + D / 2.
    halves = [plt.load(qkv_ref.at[row[:, None], head * d + part + pair[None]]) for part in (0, d // 2)]
    first, second = (half.astype(jnp.float32) for half in halves)
    normed = [first, second]
    if eps is not None:
        square = jnp.sum(first * first, axis=1) + jnp.sum(second * second, axis=1)
        inverse = lax.rsqrt(square / d + eps)[:, None]
        query_weight, key_weight = norm_refs
        normed = [
            _rounded(_weight(query_weight, key_weight, head < num_heads, part + pair) * (half * inverse), activation)
            for part, half in ((0, first), (d // 2, second))
        ]
    cos, sin = (plt.load(table.at[row[:, None], pair[None]]) for table in (cos_ref, sin_ref))
    cosine_part, sine_part = normed
    turned = cosine_part * cos - sine_part * sin, sine_part * cos + cosine_part * sin
    is_value = head >= num_heads + num_kv_heads
    first, second = (
        jnp.where(is_value, plain, _rounded(new, activation))
        for plain, new in zip((first, second), turned, strict=True)
    )

    is_query = live & (head < num_heads)
    for part, half in ((0, first), (d // 2, second)):
        where = query_ref.at[row[:, None], jnp.minimum(head, num_heads - 1), part + pair[None]]
        plt.store(where, half.astype(activation), mask=jnp.broadcast_to(is_query[:, None], half.shape))

    slot = plt.load(slot_ref.at[row])
    stays = live & (slot < key_ref.shape[0]) & (head >= num_heads)
    slot = jnp.where(stays, slot, 0)
    kv_head = jnp.maximum(head - num_heads, 0) % num_kv_heads
    scale = None
    if scale_refs:
        largest = jnp.maximum(jnp.max(jnp.abs(first), axis=1), jnp.max(jnp.abs(second), axis=1))
        scale = largest / _INT8_MAX
    for is_values, pool_ref in enumerate((key_ref, value_ref)):
        mine = stays & (is_value == bool(is_values))
        for part, half in ((0, first), (d // 2, second)):
            elements = _encoded(half, scale, dtype, pool_ref.dtype)
            where = pool_ref.at[slot[:, None], kv_head, part + pair[None]]
            plt.store(where, elements, mask=jnp.broadcast_to(mine[:, None], half.shape))
        if scale is not None:
            plt.store(scale_refs[is_values].at[slot, kv_head], scale, mask=mine)


def _weight(query_ref: Ref, key_ref: Ref, is_query: jax.Array, index: jax.Array) -> jax.Array:
    query, key = (plt.load(ref.at[index]).astype(jnp.float32) for ref in (query_ref, key_ref))
    return jnp.where(is_query, query, key)[None]


def _rounded(x: jax.Array, dtype: jnp.dtype) -> jax.Array:
    return x.astype(dtype).astype(jnp.float32)


def _encoded(x: jax.Array, scale: jax.Array | None, dtype: jnp.dtype, stored: jnp.dtype) -> jax.Array:
    """`kv_write.encode`, in words that the kernel language has."""
    if scale is not None:
        # Triton's language has no rounding to the nearest.
        return jnp.floor(x / jnp.where(scale > 0, scale, 1.0)[:, None] + 0.5).astype(stored)
    if dtype.itemsize == 1:
        largest = float(jnp.finfo(dtype).max)
        x = jnp.minimum(jnp.maximum(x, -largest), largest)
    x = x.astype(dtype)
    return x if dtype == stored else lax.bitcast_convert_type(x, stored)
