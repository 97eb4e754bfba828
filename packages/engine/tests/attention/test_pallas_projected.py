"""The kernel between the product for q, k and v and the attention, interpreted, against the plain path."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgl_jax.engine.attention import kv_write
from sgl_jax.engine.attention.api import HeadNorms
from sgl_jax.engine.attention.pallas_projected import store_projected
from sgl_jax.engine.layers.rotary import rotate

HEADS, KV_HEADS, D, PAGES, PAGE_SIZE, EPS = 4, 2, 16, 17, 4, 1e-6


def plain(qkv, keys, values, slots, rope, norms):
    """What the model does where there is no such kernel."""
    split = qkv.reshape(qkv.shape[0], -1, D)
    query, key, value = jnp.split(split, [HEADS, HEADS + KV_HEADS], axis=1)
    if norms is not None:
        query, key = (normed(vectors, weight) for vectors, weight in ((query, norms.query), (key, norms.key)))
    query, key = rotate(query, rope), rotate(key, rope)
    return query, kv_write.write(keys, key, slots), kv_write.write(values, value, slots)


def normed(vectors, weight):
    x = vectors.astype(jnp.float32)
    x = x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + EPS)
    return (weight.astype(jnp.float32) * x).astype(vectors.dtype)


def example(tokens, activation, pool):
    chance = np.random.default_rng(tokens)
    qkv = jnp.asarray(chance.standard_normal((tokens, (HEADS + 2 * KV_HEADS) * D)), activation)
    pages = kv_write.make_pages((PAGES, PAGE_SIZE, KV_HEADS, D), jnp.dtype(pool), jax.devices()[0])
    angles = chance.uniform(-3, 3, (tokens, D // 2))
    rope = jnp.asarray(np.cos(angles), jnp.float32), jnp.asarray(np.sin(angles), jnp.float32)
    slots = chance.permutation(PAGES * PAGE_SIZE)[:tokens].astype(np.int32)
    slots[-1] = PAGES * PAGE_SIZE + 3  # padding is dropped
    weights = [jnp.asarray(chance.uniform(0.5, 1.5, D), activation) for _ in range(2)]
    return qkv, pages, pages, jnp.asarray(slots), rope, HeadNorms(*weights, EPS)


def floats(pages):
    return np.asarray(kv_write.decode(pages.stored, pages.scale, pages.dtype), np.float32)


@pytest.mark.parametrize(("tokens", "activation", "pool", "has_norms"), [
    (3, "float32", "float32", True),
    (65, "float32", "float32", False),
    (3, "bfloat16", "float8_e4m3fn", True),
    (3, "float32", "int8", True),
])  # fmt: skip
def test_does_what_norm_rotation_and_write_do(tokens, activation, pool, has_norms):
    qkv, keys, values, slots, rope, norms = example(tokens, activation, pool)
    norms = norms if has_norms else None
    heads = (HEADS, KV_HEADS, D)
    fused = functools.partial(store_projected, heads=heads, norms=norms, interpret=True)
    found = jax.jit(fused)(qkv, keys, values, slots, rope)
    expected = plain(qkv, keys, values, slots, rope, norms)
    near = {"rtol": 2e-2, "atol": 2e-2} if activation == "bfloat16" else {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(found[0].astype(np.float32), expected[0].astype(np.float32), **near)
    # What lies between two codes may go to either of them.
    near = near if pool == "float32" else {"rtol": 0.13, "atol": 2e-2}
    for got, wanted in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(floats(got), floats(wanted), **near)


@pytest.mark.parametrize(("head_dim", "rotary"), [(24, 24), (16, 8)])
def test_leaves_to_others_what_it_does_not_serve(head_dim, rotary):
    qkv, keys, values, slots, _, _ = example(3, "float32", "float32")
    rope = jnp.ones((3, rotary // 2)), jnp.ones((3, rotary // 2))
    assert store_projected(qkv, keys, values, slots, rope, heads=(4, 2, head_dim), norms=None) is None


@pytest.mark.parametrize("pool", ["bfloat16", "float8_e4m3fn", "int8"])
def test_lowers_for_cuda(pool):
    qkv, keys, values, slots, rope, norms = example(3, "bfloat16", pool)
    fused = functools.partial(store_projected, heads=(HEADS, KV_HEADS, D), norms=norms)
    text = jax.jit(fused).trace(qkv, keys, values, slots, rope).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("stablehlo.custom_call") == 1
