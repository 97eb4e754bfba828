"""Paged attention by the kernels of this folder, after the contract of `attention.api`."""

from __future__ import annotations

import functools
import logging

import jax
import jax.numpy as jnp

from sgl_jax.engine.attention.api import Pages, RaggedRows
from sgl_jax.engine.attention.pallas_gpu.kernel import Formula, Operands, attend, attend_shares
from sgl_jax.engine.attention.pallas_gpu.limits import beyond_indices
from sgl_jax.engine.attention.pallas_gpu.merge import Shares, merge
from sgl_jax.engine.attention.pallas_gpu.sizes import Heads, chunk_sizes, decode_sizes
from sgl_jax.engine.attention.pallas_gpu.tiles import chunk_tiles, single_tiles, token_tiles
from sgl_jax.engine.attention.xla import xla_attention

logger = logging.getLogger(__name__)


def pallas_attention(
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
    interpret: bool = False,
) -> jax.Array:
    """Attention by the GPU kernels; see `api.AttentionBackend`.

    Products are of bfloat16, unless queries are float32: then all is.

    Args:
        query_thd, key_pages, value_pages, rows: see there.
        scale, window, softcap, sinks, page_offset, single_token_rows: likewise.
        interpret: compute with XLA what Triton would, on any device: slow, for tests.
    """
    if beyond_indices(key_pages):
        _warn_of_pool()
        return xla_attention(
            *(query_thd, key_pages, value_pages, rows),
            scale=scale,
            window=window,
            softcap=softcap,
            sinks=sinks,
            page_offset=page_offset,
            single_token_rows=single_token_rows,
        )
    num_tokens, num_heads, head_dim = query_thd.shape
    shared = value_pages.stored is key_pages.stored
    products = jnp.dtype(jnp.float32 if query_thd.dtype == jnp.float32 else jnp.bfloat16)
    heads = Heads(
        head_dim=head_dim,
        group=num_heads // key_pages.shape[2],
        kv_heads=key_pages.shape[2],
        stored_bytes=key_pages.stored.dtype.itemsize,
        product_bytes=products.itemsize,
        pools=1 if shared else 2,
    )
    asked = Operands(
        query=query_thd,
        keys=key_pages.stored,
        key_scale=key_pages.scale,
        values=None if shared else value_pages.stored,
        value_scale=None if shared else value_pages.scale,
        tiles=token_tiles(rows, num_tokens) if single_token_rows else single_tiles(rows),
        block_table=rows.block_table,
        numbers=jnp.stack(
            [jnp.asarray(number, jnp.int32) for number in (page_offset, 0 if window is None else window)]
        ),
        sinks=None if sinks is None else sinks.astype(jnp.float32),
    )
    formula = Formula(scale, softcap, window is not None, key_pages.dtype, products)
    if single_token_rows:
        return _decode(asked, formula, heads, interpret)
    sizes = chunk_sizes(heads, num_tokens)
    chunks = asked._replace(tiles=chunk_tiles(rows, num_tokens, group=heads.group, units=sizes.units))
    out = attend(chunks, formula, sizes, interpret=interpret)
    return _decode(asked._replace(into=out), formula, heads, interpret)


def _decode(asked: Operands, formula: Formula, heads: Heads, interpret: bool) -> jax.Array:
    """Answers for tiles of one query each."""
    tiles = asked.tiles
    sizes = decode_sizes(heads, tiles.slot.shape[0])
    if sizes.splits == 1:
        return attend(asked, formula, sizes, interpret=interpret)
    partial = attend_shares(asked, formula, sizes, interpret=interpret)
    shares = Shares(tiles.first_token, tiles.num_queries, partial, asked.sinks, asked.into)
    return merge(shares, asked.query.shape[0], formula.products, interpret=interpret)


@functools.cache
def _warn_of_pool() -> None:
    logger.warning(
        "attention by plain XLA instead of Pallas: a layer's pool of one-byte elements has between 2 and 4 GiB, which "
        "is beyond the indices of Pallas; --max-total-tokens makes it smaller"
    )
