"""The oracle: attention as one reads it in a textbook. Slow, obvious, used by tests."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sgl_jax.engine.attention import kv_write
from sgl_jax.engine.attention.api import Pages, RaggedRows


def reference_attention(
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
) -> jax.Array:
    """Gathers every row's whole block table; see `api.AttentionBackend`."""
    del single_token_rows
    num_tokens, num_heads, _ = query_thd.shape
    num_rows, width = rows.slot.shape[0], rows.block_table.shape[1]
    page_size, num_kv_heads = key_pages.shape[1:3]
    token = jnp.arange(num_tokens)
    belongs = (token[:, None] >= rows.row_start) & (token[:, None] < rows.row_start + rows.row_len)
    row_of_token = jnp.where(belongs.any(1), belongs.argmax(1), num_rows - 1)
    position = rows.kv_len[row_of_token] - rows.row_len[row_of_token] + token - rows.row_start[row_of_token]

    pages = jnp.take(rows.block_table, rows.slot, axis=0, mode="clip") + page_offset
    keys = kv_write.read(key_pages, pages).reshape(num_rows, width * page_size, num_kv_heads, -1)
    values = kv_write.read(value_pages, pages).reshape(num_rows, width * page_size, num_kv_heads, -1)
    groups = num_heads // num_kv_heads
    keys = jnp.repeat(keys, groups, axis=2).astype(jnp.float32)
    values = jnp.repeat(values, groups, axis=2).astype(jnp.float32)
    # Of every token with every row's keys, then each token's own: cheaper than a copy of the keys for each token.
    scores = jnp.einsum("thd,rshd->trhs", query_thd.astype(jnp.float32), keys)[token, row_of_token] * scale
    if softcap is not None:
        scores = softcap * jnp.tanh(scores / softcap)
    key_position = jnp.arange(width * page_size)
    visible = key_position <= position[:, None]
    if window is not None:
        visible &= key_position > position[:, None] - window
    scores = jnp.where(visible[:, None], scores, -jnp.inf)
    if sinks is not None:
        sink = jnp.broadcast_to(sinks.astype(jnp.float32)[:, None], (num_tokens, num_heads, 1))
        scores = jnp.concatenate([scores, sink], axis=-1)
    weights = jax.nn.softmax(scores, axis=-1)[..., : width * page_size]
    out = jnp.einsum("ths,rshd->trhd", weights, values)[token, row_of_token]
    return jnp.where(belongs.any(1)[:, None, None], out, 0.0)
