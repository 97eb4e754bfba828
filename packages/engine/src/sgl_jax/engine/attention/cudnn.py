"""Attention of whole prompts by NVIDIA's cuDNN, for steps that hold nothing else.

cuDNN knows no pages. A prompt of which nothing was computed before has all its keys in the step itself, so they are
few, and gathering them from the pages, into which they have just been written, costs little beside the attention. What
the pool rounds (`--kv-cache-dtype`) is rounded here too, as in every other backend.

Prompts lie in a padded batch: R of them have T / R places each. One prompt needs no padding and no copy of its queries.
"""

from __future__ import annotations

import functools
from typing import Literal

import jax
import jax.numpy as jnp

from sgl_jax.engine.attention import kv_write
from sgl_jax.engine.attention.api import AttentionBackend, Pages, RaggedRows


def fresh_attention(
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
    otherwise: AttentionBackend,
    implementation: Literal["cudnn", "xla"] = "cudnn",
) -> jax.Array:
    """Attention of prompts that begin in this step, of at most T / R tokens each; see `api.AttentionBackend`.

    Args:
        query_thd, key_pages, value_pages, rows: see there; `kv_len` equals `row_len`. A single row begins at token 0.
        scale, window, softcap, sinks, page_offset, single_token_rows: likewise.
        otherwise: serves layers with what cuDNN does not know: a window shorter than the prompts, soft caps, sinks.
        implementation: of `jax.nn.dot_product_attention`; `xla` computes the same on any device, for tests.
    """
    num_tokens, num_rows = query_thd.shape[0], rows.slot.shape[0]
    length = num_tokens // num_rows
    sees_all = window is None or (isinstance(window, int) and window >= length)
    if softcap is not None or sinks is not None or not sees_all:
        return otherwise(
            *(query_thd, key_pages, value_pages, rows),
            scale=scale,
            window=window,
            softcap=softcap,
            sinks=sinks,
            page_offset=page_offset,
            single_token_rows=single_token_rows,
        )
    product = functools.partial(
        jax.nn.dot_product_attention, scale=scale, is_causal=True, implementation=implementation
    )
    keys = _gathered(key_pages, rows, length, page_offset, query_thd.dtype)
    values = keys
    if value_pages.stored is not key_pages.stored:
        values = _gathered(value_pages, rows, length, page_offset, query_thd.dtype)
    if num_rows == 1:
        return product(query_thd[None], keys, values)[0]
    place = jnp.arange(length, dtype=jnp.int32)
    live = place < rows.row_len[:, None]
    token = rows.row_start[:, None] + place
    queries = query_thd[jnp.where(live, token, 0)]
    # Rows of no token claim one, whose keys are zeros: what cuDNN makes of none at all is nowhere said.
    lengths = jnp.maximum(rows.row_len, 1)
    out = product(queries, keys, values, query_seq_lengths=lengths, key_value_seq_lengths=lengths)
    # Back by a gather: a scatter wants a buffer of zeros in every layer. Padding gets what the first place has.
    place_of = jnp.arange(num_tokens, dtype=jnp.int32) - rows.row_start[:, None]
    owns = (place_of >= 0) & (place_of < rows.row_len[:, None])
    return out[jnp.argmax(owns, axis=0), jnp.sum(place_of, axis=0, where=owns)]


def why_no_cudnn(
    device: jax.Device, *, heads: int, kv_heads: int, head_dim: int, dtype: jnp.dtype, num_devices: int = 1
) -> str | None:
    """Why cuDNN cannot serve a model, or None where it can.

    Args:
        device: where the model runs, or one of several.
        heads, kv_heads, head_dim: of a layer's attention.
        dtype: of queries.
        num_devices: that share the model.
    """
    if device.platform != "gpu":
        return f"cuDNN is for NVIDIA GPUs, not for the {device.platform}"
    if num_devices > 1:
        return "it serves one GPU, without --tp-size"
    query, key = (jax.ShapeDtypeStruct((1, 64, count, head_dim), dtype) for count in (heads, kv_heads))
    attend = functools.partial(jax.nn.dot_product_attention, is_causal=True, implementation="cudnn")
    try:
        jax.eval_shape(attend, query, key, key)
    except (RuntimeError, ValueError, ImportError) as error:
        # JAX asks for the library, its version, the card, the type and the shape.
        return f"JAX cannot call it here ({error}); the extras [cuda12] and [cuda13] of sgl-jax-server bring cuDNN"
    return None


def _gathered(pages: Pages, rows: RaggedRows, length: int, page_offset: jax.Array | int, dtype: jnp.dtype) -> jax.Array:
    """dtype[R, length, K, D], the first keys of each row; zeros where it has none."""
    page_size = pages.shape[1]
    column = jnp.arange(-(-length // page_size), dtype=jnp.int32)
    page_ids = rows.block_table.at[rows.slot[:, None], column].get(mode="clip") + page_offset
    found = kv_write.read(pages, page_ids)
    found = found.reshape(found.shape[0], -1, *found.shape[3:])[:, :length]
    # A page's end may hold anything, and NaN times a weight of zero is NaN.
    live = jnp.arange(length) < rows.kv_len[:, None]
    return jnp.where(live[..., None, None], found, 0).astype(dtype)
