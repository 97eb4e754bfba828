"""Paged attention in plain XLA whose cost follows the live keys, on any device.

Queries are cut into tiles of one row each. All tiles walk their keys together, a block of pages at
a time, with a running softmax (Milakov & Gimelshein 2018, "Online normalizer calculation for
softmax", section 3). The number of blocks is a run-time value: the live tile that sees the most
decides it, not the pool, not the context limit, and no shape is compiled for it. With a window each
tile starts at the first block that its first token sees.

Rows of one token (decode) get tiles of width 1, longer rows tiles of width `TILE`; a group without
live tiles runs no iteration.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from sgl_jax.engine.attention import kv_write
from sgl_jax.engine.attention.api import Pages, RaggedRows

TILE = 16
BLOCK_TOKENS = 128
_MASKED = -1e30


class _Tiles(NamedTuple):
    """N tiles of W tokens: int32[N, W] token indices, bool[N, W] live, int32[N, W] positions, int32[N] slots."""

    token: jax.Array
    live: jax.Array
    position: jax.Array
    slot: jax.Array


def xla_attention(
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
    """Blockwise paged attention; see `api.AttentionBackend`."""
    num_tokens = query_thd.shape[0]
    out = jnp.zeros(query_thd.shape, jnp.float32)
    groups = [_single_token_tiles(rows)]
    if not single_token_rows:
        groups.append(_chunk_tiles(rows, num_tokens))
    for tiles in groups:
        query = query_thd[jnp.clip(tiles.token, 0, num_tokens - 1)].astype(jnp.float32) * scale
        attended = _attend(
            query,
            key_pages,
            value_pages,
            tiles,
            rows.block_table,
            window=window,
            softcap=softcap,
            sinks=sinks,
            page_offset=page_offset,
        )
        target = jnp.where(tiles.live, tiles.token, num_tokens)
        out = out.at[target].set(attended, mode="drop")
    return out


def _single_token_tiles(rows: RaggedRows) -> _Tiles:
    return _Tiles(
        token=rows.row_start[:, None],
        live=(rows.row_len == 1)[:, None],
        position=(rows.kv_len - 1)[:, None],
        slot=rows.slot,
    )


def _chunk_tiles(rows: RaggedRows, num_tokens: int) -> _Tiles:
    """Cuts the rows of several tokens into tiles of `TILE`; a ragged row wastes part of its last tile only."""
    num_rows = rows.row_len.shape[0]
    num_tiles = num_tokens // TILE + min(num_rows, max(num_tokens // 2, 1))
    tiles_of_row = jnp.where(rows.row_len > 1, -(-rows.row_len // TILE), 0)
    ends = jnp.cumsum(tiles_of_row)
    tile = jnp.arange(num_tiles)
    row = jnp.minimum(jnp.searchsorted(ends, tile, side="right"), num_rows - 1)
    first = (tile - (ends[row] - tiles_of_row[row])) * TILE
    offset = first[:, None] + jnp.arange(TILE)
    row_len = rows.row_len[row][:, None]
    return _Tiles(
        token=rows.row_start[row][:, None] + offset,
        live=(offset < row_len) & (tile < ends[-1])[:, None],
        position=(rows.kv_len[row][:, None] - row_len) + offset,
        slot=rows.slot[row],
    )


def _attend(
    query_nwhd: jax.Array,
    key_pages: Pages,
    value_pages: Pages,
    tiles: _Tiles,
    block_table: jax.Array,
    *,
    window: jax.Array | int | None,
    softcap: float | None,
    sinks: jax.Array | None,
    page_offset: jax.Array | int,
) -> jax.Array:
    """Running-softmax attention of N tiles: float32[N, W, H, D]."""
    n, w, num_heads, d = query_nwhd.shape
    page_size, k = key_pages.shape[1:3]
    g = num_heads // k
    block_pages = max(1, BLOCK_TOKENS // page_size)
    block_tokens = block_pages * page_size
    query = query_nwhd.reshape(n, w, k, g, d).transpose(0, 2, 3, 1, 4).reshape(n, k, g * w, d)
    position = jnp.where(tiles.live, tiles.position, -1)
    first_seen = jnp.zeros(n, jnp.int32) if window is None else jnp.maximum(position[:, 0] - window + 1, 0)
    last_seen = jnp.max(position, axis=1)
    first_block = first_seen // block_tokens
    num_blocks = jnp.max(-(-(last_seen + 1) // block_tokens) - first_block)

    def block(index: jax.Array, carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
        top, total, out = carry
        number = (first_block + index)[:, None]
        # A block may reach past the table, and it begins and ends at pages that may be another sequence's by now:
        # their keys are masked, and their values zeroed, lest a NaN among them come through a weight of zero.
        columns = number * block_pages + jnp.arange(block_pages)
        pages = block_table.at[tiles.slot[:, None], columns].get(mode="clip") + page_offset
        key_position = number * block_tokens + jnp.arange(block_tokens)
        seen = (key_position >= first_seen[:, None]) & (key_position <= last_seen[:, None])
        keys = kv_write.read(key_pages, pages).reshape(n, block_tokens, k, d)
        values = kv_write.read(value_pages, pages).reshape(n, block_tokens, k, d)
        values = jnp.where(seen[:, :, None, None], values, 0)
        scores = jnp.einsum("nkqd,nskd->nkqs", query, keys, preferred_element_type=jnp.float32)
        if softcap is not None:
            scores = softcap * jnp.tanh(scores / softcap)
        visible = key_position[:, None] <= position[:, :, None]
        if window is not None:
            visible &= key_position[:, None] > position[:, :, None] - window
        scores = jnp.where(visible[:, None, None], scores.reshape(n, k, g, w, block_tokens), _MASKED)
        scores = scores.reshape(n, k, g * w, block_tokens)
        new_top = jnp.maximum(top, scores.max(-1))
        weights = jnp.exp(scores - new_top[..., None])
        fade = jnp.exp(top - new_top)
        total = total * fade + weights.sum(-1)
        out = out * fade[..., None] + jnp.einsum(
            "nkqs,nskd->nkqd", weights.astype(values.dtype), values, preferred_element_type=jnp.float32
        )
        return new_top, total, out

    # A token that sees nothing of a tile's first blocks sums up masked keys with weight 1; its first visible key
    # then fades that sum to zero.
    top, total = jnp.full((n, k, g * w), _MASKED, jnp.float32), jnp.zeros((n, k, g * w), jnp.float32)
    if sinks is not None:
        top = jnp.broadcast_to(sinks.astype(jnp.float32).reshape(k, g, 1), (n, k, g, w)).reshape(n, k, g * w)
        total = jnp.ones_like(top)
    start = top, total, jnp.zeros((n, k, g * w, d), jnp.float32)
    _, total, out = lax.fori_loop(0, num_blocks, block, start)
    out = out / jnp.maximum(total, 1e-30)[..., None]
    return out.reshape(n, k, g, w, d).transpose(0, 3, 1, 2, 4).reshape(n, w, num_heads, d)
