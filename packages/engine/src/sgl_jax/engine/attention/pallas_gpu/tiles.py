"""Which queries each program of a kernel takes on.

The queries of a row and the heads that share a key head are one axis of *units*, query after query: unit u of a row
is query u // G, head u % G of the group. A tile is a run of units of one row, as many as a program's matrix products
have lines; so no number of heads wastes lines but at a row's end, and a group may be larger than a tile.

All is computed from the rows on the device, once a step: the layers' programs ask for the same arrays, and XLA keeps
one copy.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from sgl_jax.engine.attention.api import RaggedRows


class Tiles(NamedTuple):
    """N tiles, int32[N] each.

    Attributes:
        first_token: of the tile's row, on the T axis.
        num_queries: of the tile's row; 0 where the tile has nothing to do.
        kv_len: keys that the row's last query sees; 0 gives zeros.
        slot: the row's line in the block table.
        first_unit: the tile's first unit.
    """

    first_token: jax.Array
    num_queries: jax.Array
    kv_len: jax.Array
    slot: jax.Array
    first_unit: jax.Array


def chunk_tiles(rows: RaggedRows, num_tokens: int, *, group: int, units: int) -> Tiles:
    """Tiles of `units` units for the rows of several tokens, and for the padding behind all rows, which sees no key.

    So every token that is not of a single-token row gets an answer, and nobody has to clear it beforehand.
    """
    used = jnp.max(jnp.where(rows.row_len > 0, rows.row_start + rows.row_len, 0))
    length = jnp.append(jnp.where(rows.row_len > 1, rows.row_len, 0), num_tokens - used)
    start, kv_len, slot = (
        jnp.append(field, last) for field, last in ((rows.row_start, used), (rows.kv_len, 0), (rows.slot, 0))
    )
    tiles_of_row = -(-length * group // units)
    ends = jnp.cumsum(tiles_of_row)
    tile = jnp.arange(num_tokens * group // units + length.shape[0], dtype=jnp.int32)
    # By comparing all with all: `searchsorted` would be a loop, which no CUDA graph holds.
    row = jnp.sum(tile[:, None] >= ends, axis=1)
    nothing = row >= length.shape[0]
    row = jnp.minimum(row, length.shape[0] - 1)
    return Tiles(
        first_token=start[row],
        num_queries=jnp.where(nothing, 0, length[row]),
        kv_len=jnp.where(nothing, 0, kv_len[row]),
        slot=slot[row],
        first_unit=(tile - (ends - tiles_of_row)[row]) * units,
    )


def single_tiles(rows: RaggedRows) -> Tiles:
    """One tile for each row of one token; other rows' tiles do nothing."""
    single = rows.row_len == 1
    return Tiles(
        first_token=rows.row_start,
        num_queries=single.astype(jnp.int32),
        kv_len=jnp.where(single, rows.kv_len, 0),
        slot=rows.slot,
        first_unit=jnp.zeros_like(rows.slot),
    )


def token_tiles(rows: RaggedRows, num_tokens: int) -> Tiles:
    """One tile for each token, of which none has company in its row; tokens of no row get zeros."""
    # The barrier, because XLA makes what is cheap anew for each layer, and each time it is a kernel.
    token = lax.optimization_barrier(jnp.arange(num_tokens, dtype=jnp.int32))
    # All with all, again: a scatter and two gathers would be four small kernels.
    own = (rows.row_start == token[:, None]) & (rows.row_len == 1)
    kv_len, slot = (jnp.sum(jnp.where(own, field, 0), axis=1) for field in (rows.kv_len, rows.slot))
    return Tiles(token, jnp.ones_like(token), kv_len, slot, jnp.zeros_like(token))
