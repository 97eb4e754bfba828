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
from sgl_jax.engine.attention.api import Pages, RaggedRows
from sgl_jax.engine.attention.native import native_attention
from sgl_jax.engine.attention.reference import reference_attention
from sgl_jax.engine.attention.xla import xla_attention
from sgl_jax.engine.cpu_kernels import library
from sgl_jax.engine.execution.device_env import kernels_folder

BACKENDS = {
    name: jax.jit(backend, static_argnames=("scale", "softcap", "single_token_rows"))
    for name, backend in {"native": native_attention, "xla": xla_attention, "reference": reference_attention}.items()
}
# Shapes are few so that the hypothesis examples share compiled code.
NUM_ROWS, NUM_TOKENS, NUM_PAGES, TABLE, NUM_SLOTS = 4, 40, 64, 20, 7
SLOTS = np.asarray([5, 0, 3, 6])


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request):
    if request.param == "native":
        try:
            library.load(kernels_folder())
        except library.Unavailable as reason:
            pytest.skip(f"no native kernels on this machine: {reason}")
    return request.param


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
    """A pool of noise with scattered pages, the packed queries, and the dense answer.

    Block tables hold arbitrary pages where the contract says that nobody looks.
    """
    free = list(rng.permutation(NUM_PAGES))
    table = rng.integers(0, NUM_PAGES, (NUM_SLOTS, TABLE), np.int32)  # arbitrary where nothing may be read
    shape = (layers * NUM_PAGES, page_size, kv_heads, head_dim)
    pools = [stored(rng.standard_normal(shape).astype(np.float32), dtype) for _ in range(2)]
    floats = [as_floats(pool) for pool in pools]
    query = rng.standard_normal((NUM_TOKENS, heads, head_dim)).astype(np.float32)
    expected = np.zeros_like(query)
    start = np.cumsum(lengths) - lengths
    for row, (length, context) in enumerate(zip(lengths, contexts, strict=True)):
        if length == 0:
            continue
        position = np.arange(length + context)
        pages = np.asarray([free.pop() for _ in range(-(-len(position) // page_size))])
        table[SLOTS[row], : len(pages)] = pages
        where = pages[position // page_size] + layer * NUM_PAGES, position % page_size
        keys, values = (pool[where] for pool in floats)
        tokens = slice(start[row], start[row] + length)
        expected[tokens] = dense_attention(query[tokens], keys, values, head_dim**-0.5, **options)
        behind = max(context + 1 - (options.get("window") or 1 << 30), 0) // page_size
        table[SLOTS[row], :behind] = rng.integers(0, NUM_PAGES, behind)
    slots = np.where(lengths > 0, SLOTS, NUM_SLOTS)  # padding names a slot that does not exist
    rows = RaggedRows(*(jnp.asarray(x, jnp.int32) for x in (start, lengths, lengths + contexts, slots, table)))
    return jnp.asarray(query), *pools, rows, expected


def stored(values, dtype):
    """Pages that hold these values as `dtype`."""
    empty = kv_write.make_pages(values.shape, jnp.dtype(dtype), jax.devices()[0])
    elements, scale = kv_write.encode(jnp.asarray(values), empty)
    return Pages(elements, scale, empty.dtype)


def as_floats(pages):
    """What pages stand for, decoded without the code under test."""
    values = np.asarray(pages.stored).view(pages.dtype).astype(np.float32)
    return values if pages.scale is None else values * np.asarray(pages.scale)[..., None]


@pytest.mark.parametrize(("page_size", "heads", "kv_heads", "head_dim", "dtype"), [
    (16, 4, 2, 64, np.float32),
    (1, 4, 4, 16, np.float32),
    (16, 4, 1, 80, np.float32),
    (32, 6, 2, 128, ml_dtypes.bfloat16),
    (4, 2, 2, 96, ml_dtypes.bfloat16),
    (16, 2, 1, 256, np.float32),
    (16, 4, 2, 64, np.int8),
    (1, 4, 1, 16, np.int8),
    (16, 4, 2, 64, ml_dtypes.float8_e4m3fn),
    (8, 2, 2, 32, ml_dtypes.float8_e5m2),
])  # fmt: skip
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_agrees_with_dense_attention(backend, page_size, heads, kv_heads, head_dim, dtype, data):
    check(backend, data, page_size=page_size, heads=heads, kv_heads=kv_heads, head_dim=head_dim, dtype=dtype)


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
        single_token_rows=single and backend != "reference",  # which never asks; one program less to compile
        **options,
    )
    live = int(lengths.sum())
    np.testing.assert_allclose(np.asarray(out)[:live], expected[:live], atol=1e-5)
    assert np.isfinite(np.asarray(out)).all()


@pytest.mark.parametrize("backend", ["native", "xla"], indirect=True)
@pytest.mark.parametrize("window", [None, 24])
@pytest.mark.parametrize("lengths", [[1, 1, 1, 0], [1, 10, 20, 0]])
def test_what_no_token_of_a_row_sees_is_harmless(backend, lengths, window):
    """Pages that were given back belong to others by now, and one request's NaN must not spread to the next."""
    lengths, contexts = np.asarray(lengths), np.asarray([3, 220, 140, 0])
    shape = {"page_size": 16, "heads": 2, "kv_heads": 1, "head_dim": 16, "dtype": np.float32}
    query, *pools, rows, expected = build(
        np.random.default_rng(0), lengths, contexts, **shape, layers=1, layer=0, window=window
    )
    seen = np.zeros((NUM_PAGES, 16), bool)
    for table, length, context in zip(np.asarray(rows.block_table)[SLOTS], lengths, contexts, strict=True):
        position = np.arange(max(context + 1 - (window or 1 << 30), 0), length + context)
        seen[table[position // 16], position % 16] = True
    poisoned = [Pages(jnp.where(seen[..., None, None], pool.stored, jnp.nan), None, pool.dtype) for pool in pools]
    out = BACKENDS[backend](query, *poisoned, rows, scale=0.25, window=window)
    live = int(lengths.sum())
    np.testing.assert_allclose(np.asarray(out)[:live], expected[:live], atol=1e-5)


@pytest.mark.parametrize(("window", "blocks"), [(None, 13), (24, 1), (140, 2), (1 << 30, 13)])
@pytest.mark.parametrize("limit", [1600, 64_000])
def test_the_keys_read_follow_the_window_not_the_length_or_the_limit(monkeypatch, window, blocks, limit):
    reads = []

    def counted(pages, page_ids, read=kv_write.read):
        jax.debug.callback(lambda: reads.append(page_ids.shape))
        return read(pages, page_ids)

    monkeypatch.setattr(kv_write, "read", counted)
    pool = kv_write.make_pages((4, 16, 1, 8), jnp.dtype(jnp.float32), jax.devices()[0])
    one = jnp.ones(1, jnp.int32)
    rows = RaggedRows(0 * one, one, 1600 * one, 0 * one, jnp.zeros((1, limit // 16), jnp.int32))
    xla_attention(jnp.ones((1, 2, 8)), pool, pool, rows, scale=1.0, window=window, single_token_rows=True)
    jax.effects_barrier()
    assert reads == [(1, 8)] * 2 * blocks
