"""Every attention backend against the oracle, over ragged batches of all shapes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgl_jax.engine.attention import kv_write
from sgl_jax.engine.attention.api import RaggedRows
from sgl_jax.engine.attention.reference import reference_attention
from sgl_jax.engine.attention.xla import xla_attention

BACKENDS = {
    name: jax.jit(backend, static_argnames=("scale", "softcap", "single_token_rows"))
    for name, backend in {"xla": xla_attention, "reference": reference_attention}.items()
}
# Shapes are few so that the hypothesis examples share compiled code.
NUM_ROWS, NUM_TOKENS, NUM_PAGES, TABLE = 4, 40, 64, 20


def dense_attention(query, keys, values, scale, *, window=None, softcap=None, sinks=None):
    """NumPy attention of one row: its queries are the last positions of its keys."""
    groups = query.shape[1] // keys.shape[1]
    keys, values = np.repeat(keys, groups, 1), np.repeat(values, groups, 1)
    scores = np.einsum("thd,shd->hts", query, keys) * scale
    if softcap is not None:
        scores = softcap * np.tanh(scores / softcap)
    ahead = np.arange(len(keys)) - (len(keys) - len(query)) - np.arange(len(query))[:, None]
    scores = np.where((ahead > 0) | (ahead <= -(window or np.inf)), -np.inf, scores)
    if sinks is not None:
        sink = np.broadcast_to(sinks[:, None, None], (*scores.shape[:2], 1))
        scores = np.concatenate([scores, sink], -1)
        values = np.concatenate([values, np.zeros_like(values[:1])])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("hts,shd->thd", weights / weights.sum(-1, keepdims=True), values)


def build(rng, lengths, contexts, *, page_size, heads, kv_heads, head_dim, dtype, layers, layer, **options):
    """A pool of noise with scattered pages, the packed queries, and the dense answer."""
    free = list(rng.permutation(NUM_PAGES))
    table = np.zeros((NUM_ROWS, TABLE), np.int32)
    shape = (layers * NUM_PAGES, page_size, kv_heads, head_dim)
    pools = [rng.standard_normal(shape).astype(np.float32).astype(dtype) for _ in range(2)]
    query = rng.standard_normal((NUM_TOKENS, heads, head_dim)).astype(np.float32)
    expected = np.zeros_like(query)
    start = np.cumsum(lengths) - lengths
    for row, (length, context) in enumerate(zip(lengths, contexts, strict=True)):
        if length == 0:
            continue
        position = np.arange(length + context)
        pages = np.asarray([free.pop() for _ in range(-(-len(position) // page_size))])
        table[row, : len(pages)] = pages
        where = pages[position // page_size] + layer * NUM_PAGES, position % page_size
        keys, values = (pool[where].astype(np.float32) for pool in pools)
        tokens = slice(start[row], start[row] + length)
        expected[tokens] = dense_attention(query[tokens], keys, values, head_dim**-0.5, **options)
    stored = kv_write.stored_dtype(jnp.dtype(dtype), "cpu")
    key_pages, value_pages = (jnp.asarray(pool.view(stored)) for pool in pools)
    rows = RaggedRows(*(jnp.asarray(x, jnp.int32) for x in (start, lengths, lengths + contexts, table)))
    return jnp.asarray(query), key_pages, value_pages, rows, expected


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("page_size", "heads", "kv_heads", "head_dim", "dtype"), [
    (16, 4, 2, 64, np.float32),
    (1, 4, 4, 16, np.float32),
    (16, 4, 1, 80, np.float32),
    (32, 6, 2, 128, ml_dtypes.bfloat16),
    (4, 2, 2, 96, ml_dtypes.bfloat16),
    (16, 2, 1, 256, np.float32),
])  # fmt: skip
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_agrees_with_dense_attention(backend, page_size, heads, kv_heads, head_dim, dtype, data):
    check(backend, data, page_size=page_size, heads=heads, kv_heads=kv_heads, head_dim=head_dim, dtype=dtype)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("capped", [False, True])
@pytest.mark.parametrize("sunk", [False, True])
@given(data=st.data(), window=st.sampled_from([None, 1, 5, 24, 127, 128, 129, 1 << 30]))
@settings(max_examples=20, deadline=None)
def test_windows_softcaps_and_sinks(backend, capped, sunk, data, window):
    sinks = np.asarray([0.5, -1.0, 3.0, 0.0], np.float32) if sunk else None
    options = {"window": window, "softcap": 2.5 if capped else None, "sinks": sinks}
    check(backend, data, page_size=16, heads=4, kv_heads=2, head_dim=16, dtype=np.float32, **options)


def check(backend, data, *, page_size, heads, kv_heads, head_dim, dtype, **options):
    """One ragged batch drawn by hypothesis, against the dense answer."""
    room = min(TABLE, NUM_PAGES // NUM_ROWS) * page_size
    single = data.draw(st.booleans())
    length = st.integers(0, 1) if single else st.integers(0, min(NUM_TOKENS // NUM_ROWS, room))
    # The contract: rows of one token first, padding last.
    lengths = sorted(data.draw(st.lists(length, min_size=NUM_ROWS, max_size=NUM_ROWS)), key=lambda n: (n > 1, n == 0))
    lengths = np.asarray([n for n in lengths if n] + [0] * lengths.count(0))
    contexts = np.asarray([data.draw(st.integers(0, room - n)) for n in lengths])
    layer = data.draw(st.integers(0, 1))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    query, keys, values, rows, expected = build(
        rng, lengths, contexts, page_size=page_size, heads=heads, kv_heads=kv_heads, head_dim=head_dim, dtype=dtype,
        layers=2, layer=layer, **options,
    )  # fmt: skip
    out = BACKENDS[backend](
        query,
        keys,
        values,
        rows,
        scale=head_dim**-0.5,
        page_offset=layer * NUM_PAGES,
        single_token_rows=single,
        **options,
    )
    live = int(lengths.sum())
    np.testing.assert_allclose(np.asarray(out)[:live], expected[:live], atol=2e-5)
    assert np.isfinite(np.asarray(out)).all()


@pytest.mark.parametrize("lengths", [[1, 1, 1, 0], [1, 10, 20, 0]])
def test_keys_before_the_window_are_not_read(lengths):
    """A short row beside long ones too: each row starts where its own window does."""
    window, page_size, block = 24, 16, 128
    lengths, contexts = np.asarray(lengths), np.asarray([3, 220, 140, 0])
    shape = {"page_size": page_size, "heads": 2, "kv_heads": 1, "head_dim": 16, "dtype": np.float32}
    query, keys, values, rows, expected = build(
        np.random.default_rng(0), lengths, contexts, **shape, layers=1, layer=0, window=window
    )
    poison = np.asarray(values).copy()
    for table, context in zip(np.asarray(rows.block_table), contexts, strict=True):
        first_block = max(context - window + 1, 0) // block
        poison[table[: first_block * block // page_size]] = np.nan
    assert np.isnan(poison).any()
    out = BACKENDS["xla"](query, keys, jnp.asarray(poison), rows, scale=0.25, window=window)
    live = int(lengths.sum())
    np.testing.assert_allclose(np.asarray(out)[:live], expected[:live], atol=2e-5)


def test_writes_outside_the_pool_are_dropped():
    pages = jnp.zeros((3, 4, 1, 2))
    written = kv_write.write(pages, jnp.ones((2, 1, 2)), jnp.asarray([5, 12]))
    assert float(written.sum()) == 2.0
    assert float(written.reshape(-1, 2)[5].sum()) == 2.0


def test_bfloat16_survives_its_bit_pattern():
    values = jnp.asarray([0.0, -0.0, 1.5, -3.25e4, jnp.inf], jnp.float32)
    stored = kv_write.encode(values, kv_write.stored_dtype(jnp.dtype(jnp.bfloat16), "cpu"))
    assert stored.dtype == jnp.uint16
    np.testing.assert_array_equal(
        np.asarray(kv_write.decode(stored)), np.asarray(values.astype(jnp.bfloat16), np.float32)
    )
