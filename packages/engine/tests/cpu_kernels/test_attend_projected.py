"""Norms, rotation, write and attention in one call give what they give one after the other, to the bit."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgl_jax.engine.attention import kv_write
from sgl_jax.engine.attention.api import HeadNorms, RaggedRows
from sgl_jax.engine.attention.native import native_attend_projected, native_attention, native_store_projected
from sgl_jax.engine.layers.rotary import Rope, rotation

PAGES, PAGE, LAYER = 64, 16, 32
KV_LENS = [1, 128, 300, 17]
"""One key; the last key of a chunk; several chunks; the first key of a page."""


def one_after_the_other(qkv, keys, values, rows, rope, slots, *, heads, norms, page_offset, **options):
    query, keys, values = native_store_projected(qkv, keys, values, slots, rope, heads=heads, norms=norms)
    out = native_attention(query, keys, values, rows, page_offset=page_offset, single_token_rows=True, **options)
    return out, keys, values


@pytest.mark.parametrize(
    ("dtype", "heads", "rotary_dim", "normed", "window"),
    [
        ("bfloat16", (9, 3, 64), 64, False, None),
        ("float32", (4, 2, 12), 8, True, 40),
        ("float8_e4m3fn", (8, 1, 18), 0, True, None),
    ],
)
def test_gives_the_same_bits_as_one_call_after_the_other(kernels, each_isa, dtype, heads, rotary_dim, normed, window):
    rng, (num_heads, num_kv_heads, d) = np.random.default_rng(3), heads
    live = len(KV_LENS)
    lengths, kv_lens = np.asarray([1] * live + [0]), np.asarray([*KV_LENS, 0])
    counts = [-(-kv_len // PAGE) for kv_len in KV_LENS]
    ends = np.cumsum(counts)
    table, own = np.zeros((live + 1, max(counts)), np.int64), rng.permutation(LAYER)
    for row, (count, end) in enumerate(zip(counts, ends, strict=True)):
        table[row, :count] = own[end - count : end]
    starts = np.asarray([*range(live), 0])
    rows = RaggedRows(*(jnp.asarray(x, jnp.int32) for x in (starts, lengths, kv_lens, np.arange(5), table)))
    positions = np.asarray([*KV_LENS, 1]) - 1
    pages = table[np.arange(5), positions // PAGE] + LAYER
    slots = jnp.asarray(np.where(lengths, pages * PAGE + positions % PAGE, PAGES * PAGE), jnp.int32)
    rope = rotation(jnp.asarray(positions), Rope(0.1 * np.arange(rotary_dim // 2, dtype=np.float32)))
    weights = [jnp.asarray(rng.standard_normal(d), jnp.float32) for _ in range(2)]
    fixed = {"heads": heads, "norms": HeadNorms(*weights, 1e-5) if normed else None, "scale": d**-0.5, "softcap": None}
    sinks = jnp.asarray(rng.standard_normal(num_heads), jnp.float32)
    qkv = jnp.asarray(rng.standard_normal((5, (num_heads + 2 * num_kv_heads) * d)), jnp.float32)
    vectors = jnp.asarray(rng.standard_normal((PAGES * PAGE, num_kv_heads, d)), jnp.float32)

    def pools():
        empty = kv_write.make_pages((PAGES, PAGE, num_kv_heads, d), jnp.dtype(dtype), jax.devices("cpu")[0])
        return [kv_write.write(empty, sign * vectors, jnp.arange(PAGES * PAGE)) for sign in (1, -1)]

    options = fixed | {"window": window, "sinks": sinks, "page_offset": LAYER}
    split = jax.jit(functools.partial(one_after_the_other, **options))
    whole = jax.jit(functools.partial(native_attend_projected, **options))
    before = kernels.threads
    try:
        for isa in each_isa():
            wanted = jax.tree.map(np.asarray, split(qkv, *pools(), rows, rope, slots))
            for threads in (1, 5):
                kernels.handle.sgl_set_num_threads(threads)
                found = whole(qkv, *pools(), rows, rope)
                jax.tree.map(functools.partial(np.testing.assert_array_equal, err_msg=isa), found, wanted)
    finally:
        kernels.handle.sgl_set_num_threads(before)
    assert np.isfinite(wanted[0]).all()


def test_a_row_sees_what_another_one_stores_in_the_same_step(kernels):
    """Two requests share a page that one of them fills, which the scheduler allows: layers write before they attend."""
    rng, heads, d = np.random.default_rng(4), (4, 2, 16), 16
    table = [[5, 6], [5, 0]]
    rows = RaggedRows(*(jnp.asarray(x, jnp.int32) for x in ([0, 1], [1, 1], [PAGE + 1, PAGE], [0, 1], table)))
    rope = rotation(jnp.asarray([PAGE, PAGE - 1]), Rope(0.1 * np.arange(d // 2, dtype=np.float32)))
    qkv = jnp.asarray(rng.standard_normal((2, 8 * d)), jnp.float32)
    slots = jnp.asarray([6 * PAGE, 5 * PAGE + PAGE - 1], jnp.int32)
    options = {"heads": heads, "norms": None, "scale": 0.25, "window": None, "softcap": None, "sinks": None}

    def pools():
        return [kv_write.make_pages((8, PAGE, 2, d), jnp.dtype("float32"), jax.devices("cpu")[0]) for _ in range(2)]

    split = jax.jit(functools.partial(one_after_the_other, page_offset=0, **options))
    whole = jax.jit(functools.partial(native_attend_projected, page_offset=0, **options))
    wanted, found = split(qkv, *pools(), rows, rope, slots), whole(qkv, *pools(), rows, rope)
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


def test_leaves_to_the_layers_what_it_cannot(kernels):
    rows = RaggedRows(*(jnp.zeros((1,) * (1 + (n == 4)), jnp.int32) for n in range(5)))
    rope = (jnp.zeros((1, 0)), jnp.zeros((1, 0)))
    whole = functools.partial(
        native_attend_projected, norms=None, scale=1.0, window=None, softcap=None, sinks=None, page_offset=0
    )
    for dtype, heads in (("int8", (2, 1, 8)), ("float32", (2, 1, 7)), ("float32", (9, 1, 8))):
        pool = kv_write.make_pages((2, PAGE, 1, heads[2]), jnp.dtype(dtype), jax.devices("cpu")[0])
        assert whole(jnp.zeros((1, (heads[0] + 2) * heads[2])), pool, pool, rows, rope, heads=heads) is None
