"""The GPU kernel for a sum and its norm, interpreted, against the norm itself."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sgl_jax.engine.layers.norm import LayerNorm, OffsetRMSNorm, RMSNorm
from sgl_jax.engine.layers.pallas_norm import add_norm


def with_weight(kind, size):
    norm = kind(size, eps=1e-6, dtype=jnp.float32)
    norm.weight = nnx.Param(jnp.linspace(0.5, 1.5, size))
    return norm


@pytest.mark.parametrize(
    ("kind", "size", "adds"), [(RMSNorm, 64, True), (OffsetRMSNorm, 48, True), (RMSNorm, 48, False)]
)
def test_is_the_sum_and_the_norm_of_it(kind, size, adds):
    hidden, delta = np.random.default_rng(0).standard_normal((2, 3, size)).astype(np.float32)
    norm = with_weight(kind, size)
    found = add_norm(jnp.asarray(hidden), jnp.asarray(delta) if adds else None, norm, interpret=True)
    total = hidden + delta if adds else hidden
    np.testing.assert_allclose(found[0], total, rtol=1e-6)
    np.testing.assert_allclose(found[1], norm(jnp.asarray(total)), rtol=1e-5, atol=1e-6)


def test_other_norms_are_left_to_xla():
    x = jnp.ones((2, 8))
    assert add_norm(x, x, with_weight(LayerNorm, 8)) is None


def test_lowers_for_cuda():
    x = jnp.ones((2, 48), jnp.bfloat16)
    norm = with_weight(RMSNorm, 48)
    text = jax.jit(lambda x: add_norm(x, x, norm)).trace(x).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("stablehlo.custom_call") == 1
