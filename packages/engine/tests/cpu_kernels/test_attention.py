"""The kernels of attention in every instruction set, and what `attention/test_backends.py` has no room for."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgl_jax.engine.attention import kv_write
from sgl_jax.engine.attention.api import Pages, RaggedRows
from sgl_jax.engine.attention.native import native_attention, native_write

FORMATS = [np.float32, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, np.int8]
FORMAT_IDS = [np.dtype(dtype).name for dtype in FORMATS]
PAGES, SLOTS = 96, 3
CHECK = settings(
    max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
attend = jax.jit(native_attention, static_argnames=("scale", "softcap", "exact"))
native_put = jax.jit(native_write, donate_argnums=0)
plain_put = jax.jit(kv_write.write, donate_argnums=0)


def stored(values, dtype):
    empty = kv_write.make_pages(values.shape, jnp.dtype(dtype), jax.devices()[0])
    return Pages(*kv_write.encode(jnp.asarray(values), empty), empty.dtype)


def as_floats(pages):
    values = np.asarray(pages.stored).view(pages.dtype).astype(np.float32)
    return values if pages.scale is None else values * np.asarray(pages.scale)[..., None]


def ragged(lengths, kv_lens, page_size, rng):
    """Rows with pages all over the pool."""
    width = max(-(-max(kv_lens) // page_size), 1)
    table = rng.permutation(PAGES)[: SLOTS * width].reshape(SLOTS, width)
    starts = np.cumsum(lengths) - lengths
    return RaggedRows(*(jnp.asarray(x, jnp.int32) for x in (starts, lengths, kv_lens, np.arange(SLOTS), table)))


def expected(query, keys, values, rows, window, softcap, sinks):
    """NumPy, token by token and head by head, in float64."""
    out = np.zeros(query.shape)
    page_size, group = keys.shape[1], query.shape[1] // keys.shape[2]
    start, length, kv_len, slot, table = (np.asarray(x) for x in rows)
    for row in range(len(length)):
        for t in range(length[row]):
            position = np.arange(max(kv_len[row] - length[row] + t + 1 - window, 0), kv_len[row] - length[row] + t + 1)
            place = table[slot[row]][position // page_size], position % page_size
            for head in range(query.shape[1]):
                token = start[row] + t
                scores = keys[(*place, head // group)].astype(np.float64) @ query[token, head] * query.shape[2] ** -0.5
                scores = softcap * np.tanh(scores / softcap) if softcap else scores
                weights = np.exp(scores - max(scores.max(), sinks[head]))
                total = weights.sum() + np.exp(sinks[head] - max(scores.max(), sinks[head]))
                out[token, head] = weights @ values[(*place, head // group)] / total
    return out


@pytest.mark.parametrize("dtype", FORMATS, ids=FORMAT_IDS)
@given(
    groups=st.sampled_from([1, 3, 4, 7, 9, 70]),
    kv_heads=st.integers(1, 3),
    dim=st.sampled_from([2, 24, 64, 72, 130]),
    page_size=st.sampled_from([1, 8, 16]),
    single=st.booleans(),
    capped=st.booleans(),
    exact=st.booleans(),
    data=st.data(),
)
@CHECK
def test_agrees_with_numpy(each_isa, dtype, groups, kv_heads, dim, page_size, single, capped, exact, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    room = PAGES // SLOTS * page_size
    lengths = np.asarray([data.draw(st.integers(0, 1 if single else min(24, room))) for _ in range(SLOTS)])
    kv_lens = np.asarray([n + data.draw(st.integers(0, room - n)) for n in lengths])
    window = data.draw(st.sampled_from([1, 5, 64, 200, 1 << 30]))
    rows = ragged(lengths, kv_lens, page_size, rng)
    pools = [stored(rng.standard_normal((PAGES, page_size, kv_heads, dim)).astype(np.float32), dtype) for _ in range(2)]
    query = rng.standard_normal((SLOTS * 24 + 1, kv_heads * groups, dim)).astype(np.float32)
    sinks = rng.standard_normal(kv_heads * groups).astype(np.float32)
    softcap = 3.0 if capped else None
    wanted = expected(query, *map(as_floats, pools), rows, window, softcap, sinks)
    for isa in each_isa():
        how = {"scale": dim**-0.5, "window": window, "softcap": softcap, "sinks": jnp.asarray(sinks), "exact": exact}
        out = attend(query, *pools, rows, **how)
        rounds = isa in ("avx512bf16", "amx") and dtype is not np.float32 and not exact
        np.testing.assert_allclose(out, wanted, atol=0.02 if rounds else 1e-5, err_msg=isa)


def alone(query, pools, rows, row):
    """One row's result when nobody else is in the batch."""
    start, length = int(rows.row_start[row]), int(rows.row_len[row])
    one = [x[row : row + 1] for x in rows[1:4]]
    own = RaggedRows(jnp.zeros(1, jnp.int32), *one, rows.block_table)
    return np.asarray(attend(query[start : start + length], *pools, own, scale=0.125))


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("length", [1, 40])
def test_a_row_gets_the_same_bits_alone_and_in_company_on_any_number_of_threads(kernels, length, dtype):
    rng = np.random.default_rng(0)
    pools = [stored(rng.standard_normal((PAGES, 16, 2, 64)).astype(np.float32), dtype) for _ in range(2)]
    rows = ragged(np.full(SLOTS, length), np.asarray([500, 129, 40]), 16, rng)
    query = jnp.asarray(rng.standard_normal((SLOTS * length, 6, 64)).astype(np.float32))
    before = kernels.threads
    try:
        for threads in (1, 5):
            kernels.handle.sgl_set_num_threads(threads)
            together = np.asarray(attend(query, *pools, rows, scale=0.125)).reshape(SLOTS, length, 6, 64)
            for row in range(SLOTS):
                np.testing.assert_array_equal(alone(query, pools, rows, row), together[row])
    finally:
        kernels.handle.sgl_set_num_threads(before)


def test_a_prompt_gets_the_same_bits_in_one_piece_and_in_two(kernels):
    rng = np.random.default_rng(0)
    pools = [stored(rng.standard_normal((PAGES, 16, 2, 64)).astype(np.float32), ml_dtypes.bfloat16) for _ in range(2)]
    query = jnp.asarray(rng.standard_normal((75, 6, 64)).astype(np.float32))
    table = jnp.asarray(rng.permutation(PAGES)[None, :8], jnp.int32)

    def piece(begin, end):
        numbers = (jnp.asarray([x], jnp.int32) for x in (0, end - begin, end, 0))
        return np.asarray(attend(query[begin:end], *pools, RaggedRows(*numbers, table), scale=0.125))

    np.testing.assert_array_equal(np.concatenate([piece(0, 33), piece(33, 75)]), piece(0, 75))


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_rows_that_begin_with_the_same_pages_get_the_same_bits_alone(kernels, dtype):
    rng = np.random.default_rng(0)
    # 32 key heads, so that single tokens use as much of a thread's memory as tiles do.
    pools = [stored(rng.standard_normal((PAGES, 16, 32, 64)).astype(np.float32), dtype) for _ in range(2)]
    table = np.concatenate([np.tile(rng.permutation(40)[:24], (SLOTS, 1)), [[50, 51], [60, 61], [70, 71]]], axis=1)
    numbers = ([0, 9, 10], [9, 1, 30], [393, 400, 410], [0, 1, 2])
    rows = RaggedRows(*(jnp.asarray(x, jnp.int32) for x in (*numbers, table)))
    query = jnp.asarray(rng.standard_normal((40, 64, 64)).astype(np.float32))
    before = kernels.threads
    try:
        for threads in (1, 3):
            kernels.handle.sgl_set_num_threads(threads)
            together = np.asarray(attend(query, *pools, rows, scale=0.125))
            for row, (start, length) in enumerate(zip(numbers[0], numbers[1], strict=True)):
                np.testing.assert_array_equal(alone(query, pools, rows, row), together[start : start + length])
    finally:
        kernels.handle.sgl_set_num_threads(before)


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_nan_stays_nan_and_with_its_own_head(kernels, dtype):
    values = np.ones((PAGES, 16, 2, 8), np.float32)
    poisoned = values.copy()
    poisoned[:, 3, 1, 0] = np.nan
    rows = ragged(np.asarray([1, 20, 0]), np.asarray([60, 60, 0]), 16, np.random.default_rng(0))
    query = jnp.ones((21, 4, 8))
    for pools in ([poisoned, values], [values, poisoned]):
        out = np.asarray(attend(query, *(stored(pool, dtype) for pool in pools), rows, scale=1.0))
        assert np.isfinite(out[:, :2]).all()
        assert np.isnan(out[:, 2:]).any(-1).all()


@pytest.mark.parametrize("dtype", FORMATS, ids=FORMAT_IDS)
@given(magnitude=st.sampled_from([1e-40, 1e-3, 0.02, 1.0, 60.0, 1e30]), odd=st.sampled_from([0.0, np.nan, np.inf]))
@CHECK
def test_writes_what_plain_xla_writes(each_isa, dtype, magnitude, odd):
    rng = np.random.default_rng(0)
    vectors = (rng.standard_normal((12, 2, 24)) * magnitude).astype(np.float32)
    odd = 0.0 if dtype is np.int8 and np.isinf(odd) else odd  # of no format, and what becomes of it is nobody's promise
    vectors[0, 0, :3], vectors[1, 1, 5] = [odd, 2.0**-9, 3 * 2.0**-10], -odd
    slots = jnp.asarray([*rng.permutation(12)[:10], 12, 99], jnp.int32)
    empty = functools.partial(kv_write.make_pages, (3, 4, 2, 24), jnp.dtype(dtype), jax.devices()[0])
    plain = plain_put(empty(), vectors, slots)
    for isa in each_isa():
        native = native_put(empty(), vectors, slots)
        np.testing.assert_array_equal(as_floats(native), as_floats(plain), err_msg=isa)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.int8])
def test_the_pool_is_written_in_place(kernels, dtype):
    pages = kv_write.make_pages((64, 16, 2, 64), jnp.dtype(dtype), jax.devices()[0])
    before = pages.stored.unsafe_buffer_pointer()
    after = native_put(pages, jnp.ones((8, 2, 64)), jnp.arange(8))
    assert after.stored.unsafe_buffer_pointer() == before
