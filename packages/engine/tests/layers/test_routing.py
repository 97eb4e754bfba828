"""Who asks whom, against the rules written out for one token at a time."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from sgl_jax.engine.layers.routing import Router, sigmoid_in_groups, softmax_then_top, top_then_softmax

TOKENS, EXPERTS, COUNT = 20, 8, 3
SCORES = np.random.default_rng(0).standard_normal((TOKENS, EXPERTS)).astype(np.float32)


def softmax(values):
    exponentials = np.exp(values - values.max())
    return exponentials / exponentials.sum()


def by_expert(routes):
    """For each token, expert -> weight."""
    found = []
    for experts, weights in zip(np.asarray(routes.expert), np.asarray(routes.weight), strict=True):
        assert len(set(experts.tolist())) == COUNT
        found.append(dict(zip(experts.tolist(), weights.tolist(), strict=True)))
    return found


def assert_same(routes, expected):
    for found, wanted in zip(by_expert(routes), expected, strict=True):
        assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("normalize", [False, True])
def test_softmax_then_top(normalize):
    expected = []
    for scores in SCORES:
        weights, best = softmax(scores), np.argsort(-scores)[:COUNT]
        total = weights[best].sum() if normalize else 1.0
        expected.append({e: weights[e] / total for e in best.tolist()})
    assert_same(softmax_then_top(jnp.asarray(SCORES), COUNT, normalize=normalize), expected)


def test_top_then_softmax():
    expected = []
    for scores in SCORES:
        best = np.argsort(-scores)[:COUNT]
        expected.append(dict(zip(best.tolist(), softmax(scores[best]), strict=True)))
    assert_same(top_then_softmax(jnp.asarray(SCORES), COUNT), expected)


@pytest.mark.parametrize(("groups", "kept"), [(4, 2), (2, 1), (1, 1), (8, 5)])
@pytest.mark.parametrize("normalize", [False, True])
def test_sigmoid_in_groups(groups, kept, normalize):
    correction = np.random.default_rng(1).uniform(-0.3, 0.3, EXPERTS).astype(np.float32)
    expected = []
    for scores in SCORES:
        gate = 1 / (1 + np.exp(-scores))
        merit = (gate + correction).reshape(groups, -1)
        best_groups = np.argsort(-np.sort(merit, axis=1)[:, -2:].sum(1))[:kept]
        merit[[group for group in range(groups) if group not in best_groups]] = -np.inf
        best = np.argsort(-merit.reshape(-1))[:COUNT]
        total = gate[best].sum() if normalize else 1.0
        expected.append({e: 2.5 * gate[e] / total for e in best.tolist()})
    routes = sigmoid_in_groups(
        jnp.asarray(SCORES), correction, COUNT, groups=groups, kept_groups=kept, normalize=normalize, scale=2.5
    )
    assert_same(routes, expected)


def test_a_router_scores_in_float32():
    router = Router(4, EXPERTS, dtype=jnp.dtype(jnp.bfloat16), bias=True)
    weight = np.random.default_rng(2).standard_normal((EXPERTS, 4)).astype(jnp.bfloat16)
    router.weight[...], router.bias[...] = jnp.asarray(weight), jnp.arange(EXPERTS, dtype=jnp.bfloat16)
    x = np.random.default_rng(3).standard_normal((5, 4)).astype(np.float32)
    expected = x @ weight.astype(np.float32).T + np.arange(EXPERTS)
    np.testing.assert_allclose(router(jnp.asarray(x)), expected, rtol=1e-5, atol=1e-5)
