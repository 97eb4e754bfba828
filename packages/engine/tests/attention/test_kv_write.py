"""Stored keys and values: what each format keeps of a number, and what writing one costs."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgl_jax.engine.attention import kv_write

FORMATS = [np.float32, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, np.int8]
FORMAT_IDS = [np.dtype(dtype).name for dtype in FORMATS]
PAGES, PAGE_SIZE, KV_HEADS, HEAD_DIM = 3, 4, 2, 8
ALL_SLOTS = jnp.arange(PAGES * PAGE_SIZE)


@functools.partial(jax.jit, static_argnames="dtype")
def through_the_pool(vectors, dtype):
    """Writes float32[12, K, D] and reads it back."""
    pages = kv_write.make_pages((PAGES, PAGE_SIZE, KV_HEADS, HEAD_DIM), dtype, jax.devices()[0])
    return kv_write.read(kv_write.write(pages, vectors, ALL_SLOTS), jnp.arange(PAGES)).reshape(vectors.shape)


def kept(vectors, dtype):
    return np.asarray(through_the_pool(jnp.asarray(vectors, jnp.float32), dtype=np.dtype(dtype)), np.float32)


@st.composite
def vectors(draw):
    magnitude = draw(st.sampled_from([1e-4, 1e-2, 1.0, 60.0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return (rng.standard_normal((PAGES * PAGE_SIZE, KV_HEADS, HEAD_DIM)) * magnitude).astype(np.float32)


@pytest.mark.parametrize("dtype", FORMATS[:-1], ids=FORMAT_IDS[:-1])
@given(vectors=vectors())
@settings(max_examples=20, deadline=None)
def test_floats_are_rounded_to_the_nearest(dtype, vectors):
    np.testing.assert_array_equal(kept(vectors, dtype), vectors.astype(dtype).astype(np.float32))


@given(vectors=vectors())
@settings(max_examples=20, deadline=None)
def test_int8_errs_by_half_a_step_of_each_vectors_own_scale(vectors):
    step = np.abs(vectors).max(-1, keepdims=True) / 127
    assert (np.abs(kept(vectors, np.int8) - vectors) <= step * 0.5001).all()


@pytest.mark.parametrize("dtype", FORMATS, ids=FORMAT_IDS)
def test_zeros_and_outliers(dtype):
    vectors = np.zeros((PAGES * PAGE_SIZE, KV_HEADS, HEAD_DIM), np.float32)
    vectors[1], vectors[2] = 1e30, -1e30
    stored = kept(vectors, dtype)
    assert not stored[0].any(), "a vector of zeros has no scale"
    largest = min(float(ml_dtypes.finfo(dtype).max), 1e30) if dtype is not np.int8 else 1e30
    np.testing.assert_allclose(stored[1], largest, rtol=1e-2)
    np.testing.assert_allclose(stored[2], -largest, rtol=1e-2)


@pytest.mark.parametrize("dtype", FORMATS, ids=FORMAT_IDS)
def test_writes_outside_the_pool_are_dropped(dtype):
    pages = kv_write.make_pages((3, 4, 1, 2), np.dtype(dtype), jax.devices()[0])
    written = kv_write.read(kv_write.write(pages, jnp.ones((2, 1, 2)), jnp.asarray([5, 12])), jnp.arange(3))
    assert float(written.sum()) == 2.0
    assert float(written.reshape(-1, 2)[5].sum()) == 2.0


@pytest.mark.parametrize("dtype", FORMATS, ids=FORMAT_IDS)
def test_the_pool_is_updated_in_place(dtype):
    """The compiler promises no buffer that grows with the pool, hence no copy and no conversion of it."""

    def step(pages, vectors, slots, page_ids):
        pages = kv_write.write(pages, vectors, slots)
        return pages, kv_write.read(pages, page_ids).sum()

    def needs(num_pages):
        shape = jax.eval_shape(lambda: kv_write.make_pages((num_pages, 16, 2, 64), np.dtype(dtype), jax.devices()[0]))
        arguments = shape, jax.ShapeDtypeStruct((8, 2, 64), jnp.float32), *[jax.ShapeDtypeStruct((8,), jnp.int32)] * 2
        memory = jax.jit(step, donate_argnums=0).lower(*arguments).compile().memory_analysis()
        return memory.temp_size_in_bytes, memory.alias_size_in_bytes

    (small, _), (large, updated) = needs(64), needs(4096)
    assert large == small
    assert updated >= 4096 * 16 * 2 * kv_write.vector_bytes(64, np.dtype(dtype))
