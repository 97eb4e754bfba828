"""Norms against NumPy in float64."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from sgl_jax.engine.layers.norm import BiasedLayerNorm, LayerNorm, OffsetRMSNorm, RMSNorm

EPS = 1e-3
X = np.random.default_rng(0).standard_normal((3, 2, 6)) + 1.0
WEIGHT, BIAS = np.arange(6) / 3.0, np.arange(6) - 2.0
RMS = X / np.sqrt((X**2).mean(-1, keepdims=True) + EPS)
CENTERED = (X - X.mean(-1, keepdims=True)) / np.sqrt(X.var(-1, keepdims=True) + EPS)


@pytest.mark.parametrize(
    ("norm_type", "expected"),
    [
        (RMSNorm, WEIGHT * RMS),
        (OffsetRMSNorm, (1 + WEIGHT) * RMS),
        (LayerNorm, WEIGHT * CENTERED),
        (BiasedLayerNorm, WEIGHT * CENTERED + BIAS),
    ],
)
def test_norms(norm_type, expected):
    norm = norm_type(6, eps=EPS, dtype=jnp.dtype(jnp.float32))
    norm.weight[...] = jnp.asarray(WEIGHT, jnp.float32)
    if norm_type is BiasedLayerNorm:
        norm.bias[...] = jnp.asarray(BIAS, jnp.float32)
    np.testing.assert_allclose(np.asarray(norm(jnp.asarray(X, jnp.float32))), expected, atol=1e-5)
    assert norm(jnp.asarray(X, jnp.bfloat16)).dtype == jnp.bfloat16
