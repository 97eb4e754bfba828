"""Experts: a token gets what its experts give it, whoever else is there, and no memory follows their number."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from sgl_jax.engine.layers.moe import Experts, at_rest, halves
from sgl_jax.engine.layers.routing import Routes

EXPERTS, ASKED, HIDDEN, INNER = 6, 2, 8, 12
TOKENS = 16


def make_experts(seed=0, *, count=EXPERTS, hidden=HIDDEN, inner=INNER, bias=True):
    rng = np.random.default_rng(seed)
    experts = Experts(count, hidden, inner, gating=halves(jax.nn.silu), dtype=jnp.dtype(jnp.float32), bias=bias)
    for linear in (experts.gate_up_proj, experts.down_proj):
        for parameter in (linear.weight, linear.bias) if bias else (linear.weight,):
            parameter[...] = jnp.asarray(rng.standard_normal(parameter.shape), jnp.float32)
    return experts


@functools.partial(jax.jit, static_argnums=0)
def _apply(graph, state, x, expert, weight, live, stack_index):
    return nnx.merge(graph, state)(x, Routes(expert, weight), live=live, stack_index=stack_index)


def run(experts, x, expert, weight, live=None, stack_index=0):
    live = np.ones(len(x), bool) if live is None else live
    return np.asarray(_apply(*nnx.split(experts), x, np.asarray(expert, np.int32), weight, live, stack_index))


def one_by_one(experts, x, expert, weight):
    """NumPy, a token and an expert at a time."""
    parameters = [experts.gate_up_proj.weight, experts.gate_up_proj.bias]
    parameters += [experts.down_proj.weight, experts.down_proj.bias]
    first, first_bias, second, second_bias = (np.asarray(parameter[...], np.float64) for parameter in parameters)
    out = np.zeros(x.shape)
    for token, (chosen, weights) in enumerate(zip(expert, weight, strict=True)):
        for e, w in zip(chosen, weights, strict=True):
            gate, up = np.split(first[e] @ x[token] + first_bias[e], 2)
            out[token] += w * (second[e] @ (gate / (1 + np.exp(-gate)) * up) + second_bias[e])
    return out


def random_case(rng, tokens=TOKENS, popular=EXPERTS):
    x = rng.standard_normal((tokens, HIDDEN)).astype(np.float32)
    expert = np.stack([rng.permutation(popular)[:ASKED] for _ in range(tokens)])
    return x, expert, rng.random((tokens, ASKED), np.float32)


EXPERT_LAYER = make_experts()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), popular=st.integers(ASKED, EXPERTS))
def test_each_token_gets_the_weighted_sum_of_its_experts(seed, popular):
    case = random_case(np.random.default_rng(seed), popular=popular)
    np.testing.assert_allclose(run(EXPERT_LAYER, *case), one_by_one(EXPERT_LAYER, *case), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tokens", [1, 3, 200])
def test_any_number_of_tokens(tokens):
    case = random_case(np.random.default_rng(tokens), tokens)
    np.testing.assert_allclose(run(EXPERT_LAYER, *case), one_by_one(EXPERT_LAYER, *case), rtol=1e-4, atol=1e-4)


def test_a_token_gets_the_same_whoever_else_is_there():
    rng = np.random.default_rng(1)
    x, expert, weight = random_case(rng)
    whole = run(EXPERT_LAYER, x, expert, weight)
    others, other_expert, other_weight = random_case(rng)
    for token in range(TOKENS):
        others[token], other_expert[token], other_weight[token] = x[token], expert[token], weight[token]
        found = run(EXPERT_LAYER, others, other_expert, other_weight)[token]
        np.testing.assert_allclose(found, whole[token], rtol=1e-5, atol=1e-5)


def test_padding_asks_nobody():
    x, expert, weight = random_case(np.random.default_rng(2))
    live = np.arange(TOKENS) < 5
    x[5:] = np.nan
    found = run(EXPERT_LAYER, x, expert, weight, live)
    expected = one_by_one(EXPERT_LAYER, x[:5], expert[:5], weight[:5])
    np.testing.assert_allclose(found[:5], expected, rtol=1e-4, atol=1e-4)
    assert not found[5:].any()


def test_layers_share_a_stack():
    layers = [make_experts(seed) for seed in range(3)]
    stack = make_experts()
    for name in ("gate_up_proj", "down_proj"):
        linear, parts = getattr(stack, name), [getattr(layer, name) for layer in layers]
        linear.weight = nnx.Param(jnp.concatenate([part.weight[...] for part in parts]))
        linear.bias = nnx.Param(jnp.concatenate([part.bias[...] for part in parts]))
    case = random_case(np.random.default_rng(3))
    for index, layer in enumerate(layers):
        np.testing.assert_allclose(run(stack, *case, stack_index=index), run(layer, *case), rtol=1e-5, atol=1e-5)


def test_bfloat16_rests_as_bit_patterns_on_a_cpu_and_computes_the_same():
    plain, resting = make_experts(bias=False), make_experts(bias=False)
    for name in ("gate_up_proj", "down_proj"):
        weight = np.asarray(getattr(plain, name).weight[...]).astype(jnp.bfloat16)
        getattr(plain, name).weight = nnx.Param(jnp.asarray(weight))
        kept = at_rest(weight, "cpu")
        assert kept.dtype == np.uint16
        getattr(resting, name).weight = nnx.Param(jnp.asarray(kept))
        assert at_rest(weight, "gpu").dtype == jnp.bfloat16
        assert at_rest(weight.astype(np.float32), "cpu").dtype == np.float32
    case = random_case(np.random.default_rng(4))
    np.testing.assert_allclose(run(resting, *case), run(plain, *case), rtol=1e-4, atol=1e-4)


def test_no_temporary_grows_with_the_number_of_experts():
    tokens, hidden, inner = 128, 64, 64
    x, live = np.zeros((tokens, hidden), np.float32), np.ones(tokens, bool)
    expert, weight = np.zeros((tokens, ASKED), np.int32), np.zeros((tokens, ASKED), np.float32)
    sizes = {}
    for count in (8, 256):
        split = nnx.split(make_experts(count=count, hidden=hidden, inner=inner, bias=False))
        compiled = _apply.lower(*split, x, expert, weight, live, 0).compile()
        sizes[count] = compiled.memory_analysis().temp_size_in_bytes
    assert sizes[256] < sizes[8] + 4 * x.nbytes
