"""Kernels that do the work of several layers, against NumPy and against the layers one by one."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgl_jax.engine.attention import kv_write, native
from sgl_jax.engine.attention.api import HeadNorms
from sgl_jax.engine.cpu_kernels import layout, library, products
from sgl_jax.engine.layers import fused
from sgl_jax.engine.layers.linear import Linear
from sgl_jax.engine.layers.norm import LayerNorm, OffsetRMSNorm, RMSNorm
from sgl_jax.engine.layers.rotary import Rope, rotate, rotation

CHECK = settings(
    max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
EPS = 1e-5
LAYERS = 2
TOKENS = 421
"""Enough for several threads to take many rows each."""
ALL_PAGES = np.arange(4)


def normalized(x, scale):
    return scale * x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(EPS))


def silu(x):
    return x / (1 + np.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


ACTIVATIONS = {"silu": silu, "gelu_pytorch_tanh": gelu_tanh}


def counts(live, decoded=None):
    return np.asarray([live, live if decoded is None else decoded], np.int32)


def stack_of(rng, rows, width):
    """Matrices in a stack, exactly as they are."""
    values = (rng.standard_normal((LAYERS, rows, width)) / np.sqrt(width)).astype(np.float32)
    return products.Stack(layout.arrange("f32", {"": values}, values.shape), "f32", rows), values


@functools.partial(jax.jit, static_argnames=("activation", "rows", "exact"))
def finish(hidden, attended, norm, tiles, index, counts, *, activation, rows, exact=True):
    stacks = [products.Stack(one, "f32", count) for one, count in zip(tiles, rows, strict=True)]
    return products.finish_block(
        *(hidden, attended, stacks[0], products.Norm(norm, EPS), stacks[1], stacks[2], index),
        activation=activation,
        exact=exact,
        counts=counts,
    )


@functools.partial(jax.jit, static_argnames="rows")
def normed(x, norm, bias, tiles, index, counts, *, rows):
    stack = products.Stack(tiles, "f32", rows)
    return products.matmul(x, stack, index, exact=True, norm=products.Norm(norm, EPS), bias=bias, counts=counts)


@CHECK
@given(tokens=st.integers(1, 40), size=st.integers(1, 70), rows=st.integers(1, 70), seed=st.integers(0, 1 << 16))
def test_norm_product_and_bias_are_those_of_numpy(each_isa, tokens, size, rows, seed):
    rng = np.random.default_rng(seed)
    stack, meant = stack_of(rng, rows, size)
    x, norm, bias = (rng.standard_normal(shape).astype(np.float32) for shape in ((tokens, size), size, rows))
    wanted = normalized(x, norm) @ meant[1].T + bias
    for isa in each_isa():
        found = normed(x, norm, bias, stack.tiles, np.int32(1), counts(tokens), rows=rows)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5, err_msg=isa)


@CHECK
@given(
    tokens=st.integers(1, 40),
    size=st.integers(1, 70),
    heads=st.integers(1, 70),
    inner=st.integers(1, 5),
    activation=st.sampled_from(products.ACTIVATIONS),
    seed=st.integers(0, 1 << 16),
)
def test_the_rest_of_a_block_is_that_of_numpy(each_isa, tokens, size, heads, inner, activation, seed):
    rng, inner = np.random.default_rng(seed), inner * 16
    stacks, (output, gate_up, down) = zip(
        *(stack_of(rng, *shape) for shape in ((size, heads), (2 * inner, size), (size, inner))), strict=True
    )
    hidden, attended, norm = (
        rng.standard_normal(shape).astype(np.float32) for shape in ((tokens, size), (tokens, heads), size)
    )
    middle = hidden + attended @ output[1].T
    gate, up = np.split(normalized(middle, norm) @ gate_up[1].T, 2, axis=1)
    wanted = middle + (ACTIVATIONS[activation](gate) * up) @ down[1].T
    tiles, rows = [stack.tiles for stack in stacks], tuple(stack.rows for stack in stacks)
    for isa in each_isa():
        found = finish(*(hidden, attended, norm, tiles, np.int32(1), counts(tokens)), activation=activation, rows=rows)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=5e-5, err_msg=isa)


@pytest.mark.parametrize("exact", [True, False])
def test_a_row_depends_neither_on_its_neighbours_nor_on_the_threads(each_isa, exact):
    rng = np.random.default_rng(5)
    shapes = ((64, 96), (128, 64), (64, 64))
    tiles = [rng.integers(0, 60, layout.tiles_shape("q4_1", (LAYERS, *shape))[0], dtype=np.uint8) for shape in shapes]
    hidden, attended = (rng.standard_normal((TOKENS, width)).astype(np.float32) for width in (64, 96))
    norm = np.ones(64, np.float32)

    @jax.jit
    def block(hidden, attended, counts):
        stacks = [products.Stack(one, "q4_1", shape[0]) for one, shape in zip(tiles, shapes, strict=True)]
        return products.finish_block(
            *(hidden, attended, stacks[0], products.Norm(norm, EPS), stacks[1], stacks[2], np.int32(1)),
            activation="silu",
            exact=exact,
            counts=counts,
        )

    for _ in each_isa():
        library.set_threads(1)
        together = np.asarray(block(hidden, attended, counts(TOKENS, 21)))
        for threads in (2, 3, 16):
            library.set_threads(threads)
            np.testing.assert_array_equal(block(hidden, attended, counts(TOKENS, 21)), together)
            some = np.asarray(block(hidden, attended, counts(50, 21)))
            np.testing.assert_array_equal(some[:50], together[:50])
            assert not some[50:].any()
        for row in (20, 21, TOKENS - 1):
            alone = block(hidden[row : row + 1], attended[row : row + 1], counts(1, row < 21))
            np.testing.assert_array_equal(alone[0], together[row])
    library.set_threads(library.available_cores())


@pytest.mark.parametrize("place", ["hidden", "attended"])
def test_what_is_no_number_stays_none_and_harms_no_other_row(each_isa, place):
    rng = np.random.default_rng(6)
    stacks = [stack_of(rng, *shape)[0] for shape in ((32, 64), (64, 32), (32, 32))]
    inputs = {"hidden": np.ones((3, 32), np.float32), "attended": np.ones((3, 64), np.float32)}
    inputs[place][1, 7] = np.nan
    for _ in each_isa():
        found = finish(
            *(inputs["hidden"], inputs["attended"], np.ones(32, np.float32), [stack.tiles for stack in stacks]),
            *(np.int32(0), counts(3)),
            activation="silu",
            rows=(32, 64, 32),
        )
        assert np.isnan(found[1]).all()
        assert np.isfinite(np.asarray(found)[[0, 2]]).all()


def test_shapes_that_do_not_fit_are_refused(kernels):
    stacks = [stack_of(np.random.default_rng(7), *shape)[0] for shape in ((32, 64), (64, 32), (32, 32))]
    ones, tiles = np.ones((3, 64), np.float32), [stack.tiles for stack in stacks]
    norm = np.ones(31, np.float32)
    with pytest.raises(jax.errors.JaxRuntimeError, match="do not fit"):
        finish(
            *(ones[:, :32], ones, norm, tiles, np.int32(0), counts(3)), activation="silu", rows=(32, 64, 32)
        ).block_until_ready()


@pytest.mark.parametrize(
    ("dtype", "rotary_dim", "norms"),
    [("float32", 12, True), ("float32", 0, False), ("bfloat16", 4, False), ("float8_e4m3fn", 12, False)],
)
def test_storing_is_norm_rotation_and_write(kernels, dtype, rotary_dim, norms):
    rng, heads, kv_heads, dim, tokens = np.random.default_rng(8), 4, 2, 12, 7
    qkv = jnp.asarray(rng.standard_normal((tokens, (heads + 2 * kv_heads) * dim)), jnp.float32)
    weights = [jnp.asarray(rng.standard_normal(dim), jnp.float32) for _ in range(2)]
    slots = jnp.asarray([3, 1, 100, 15, 0, 101, 8], jnp.int32)
    rope = rotation(jnp.arange(tokens), Rope(0.1 * np.arange(rotary_dim // 2, dtype=np.float32)))
    pages = [kv_write.make_pages((4, 4, kv_heads, dim), jnp.dtype(dtype), jax.devices("cpu")[0]) for _ in range(2)]

    query, key, value = jnp.split(qkv.reshape(tokens, -1, dim), [heads, heads + kv_heads], axis=1)
    if norms:
        query, key = (normalized(x, weight) for x, weight in zip((query, key), weights, strict=True))
    query, key = rotate(query, rope), rotate(key, rope)
    wanted = [kv_write.write(pool, vectors, slots) for pool, vectors in zip(pages, (key, value), strict=True)]

    store = functools.partial(
        native.native_store_projected,
        heads=(heads, kv_heads, dim),
        norms=HeadNorms(*weights, EPS) if norms else None,
    )
    found_query, *found = jax.jit(store)(qkv, *pages, slots, rope)
    is_live = np.asarray(slots) < 16
    np.testing.assert_allclose(found_query[is_live], query[is_live], rtol=0, atol=3e-6)
    assert not np.asarray(found_query)[~is_live].any()
    for pool, meant in zip(found, wanted, strict=True):
        tolerance = {"float32": 3e-6, "bfloat16": 0.04, "float8_e4m3fn": 0.3}[dtype]
        np.testing.assert_allclose(
            kv_write.read(pool, ALL_PAGES), kv_write.read(meant, ALL_PAGES), rtol=0, atol=tolerance
        )


def test_what_has_no_kernel_is_left_to_the_layers(kernels):
    x, linear = jnp.ones((2, 32)), Linear(32, 16, dtype=jnp.dtype(jnp.float32))
    norm = RMSNorm(32, eps=EPS, dtype=jnp.dtype(jnp.float32))
    assert fused.normed_product(x, norm, linear, None) is None
    for kind in (RMSNorm, OffsetRMSNorm, LayerNorm):
        other = kind(32, eps=EPS, dtype=jnp.dtype(jnp.float32))
        assert fused.finished_block(x, x, linear, other, nnx.Module(), None) is None
