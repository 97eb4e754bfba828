"""Every attention backend against the oracle, over ragged batches of all shapes."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgl_jax.engine.attention import kv_write
from sgl_jax.engine.attention.api import RaggedRows
from sgl_jax.engine.attention.native import native_attention
from sgl_jax.engine.attention.reference import reference_attention
from sgl_jax.engine.attention.xla import xla_attention
from tools.attention_cases import NUM_ROWS, Shape, make_batch, packed

exact_attention = functools.partial(native_attention, exact=True)
BACKENDS = {
    name: jax.jit(backend, static_argnames=("scale", "softcap", "single_token_rows"))
    for name, backend in {"native": exact_attention, "xla": xla_attention, "reference": reference_attention}.items()
}


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request):
    if request.param == "native":
        request.getfixturevalue("kernels")
    return request.param


@pytest.mark.parametrize(("page_size", "heads", "kv_heads", "head_dim", "dtype"), [
    (16, 4, 2, 64, "float32"),
    (1, 4, 4, 16, "float32"),
    (16, 4, 1, 80, "float32"),
    (32, 6, 2, 128, "bfloat16"),
    (4, 2, 2, 96, "bfloat16"),
    (16, 2, 1, 256, "float32"),
    (16, 4, 2, 64, "int8"),
    (1, 4, 1, 16, "int8"),
    (16, 4, 2, 64, "float8_e4m3fn"),
    (8, 2, 2, 32, "float8_e5m2"),
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
    check(backend, data, head_dim=16, window=window, softcap=2.5 if capped else None, sinks=sunk)


def check(backend, data, **fields):
    """One ragged batch drawn by hypothesis, against the dense answer."""
    shape = Shape(single=data.draw(st.booleans()), **fields)
    lengths = packed(data.draw(st.lists(st.integers(0, shape.most_new), min_size=NUM_ROWS, max_size=NUM_ROWS)))
    contexts = np.asarray([data.draw(st.integers(0, shape.room - n)) for n in lengths])
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    # The oracle weighs what nobody sees with zero, so that NaN there would not be harmless.
    batch = make_batch(rng, shape, lengths, contexts, poisoned=backend != "reference")
    out = BACKENDS[backend](
        *(batch.query, batch.keys, batch.values, batch.rows),
        scale=shape.head_dim**-0.5,
        window=shape.window,
        softcap=shape.softcap,
        sinks=batch.sinks,
        page_offset=batch.page_offset,
        single_token_rows=shape.single and backend != "reference",  # which never asks; one program less to compile
    )
    np.testing.assert_allclose(np.asarray(out)[: batch.live], batch.expected[: batch.live], atol=1e-5)
    assert np.isfinite(np.asarray(out)).all()


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
