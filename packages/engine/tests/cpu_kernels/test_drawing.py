"""Native drawing against the plain sampler, and against what its filters and its distribution are by definition."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgl_jax.engine.sampling.adjust import ENDS, IN_PROMPT, LogitRules, Masks
from sgl_jax.engine.sampling.draw import Asked, draw
from sgl_jax.engine.sampling.native import native_draw
from sgl_jax.engine.sampling.sampler import SamplingInputs
from sgl_jax.engine.sampling_params import MAX_LOGIT_BIAS

ROWS, VOCAB, SLOTS = 6, 1500, 4
jitted_draw = jax.jit(draw)
jitted_native = jax.jit(native_draw)
pytestmark = pytest.mark.usefixtures("kernels")


def asks(rows, vocab, **how):
    """What `rows` ask that have no rules; a value for all of them, or one each."""

    def column(name, default, dtype):
        return jnp.broadcast_to(jnp.asarray(how.get(name, default), dtype), (rows,))

    sampling = SamplingInputs(
        column("temperature", 1.0, jnp.float32),
        column("top_k", -1, jnp.int32),
        column("top_p", 1.0, jnp.float32),
        column("min_p", 0.0, jnp.float32),
        column("seed", 0, jnp.uint32),
        column("position", 0, jnp.int32),
    )
    rules = LogitRules(
        jnp.zeros((1, vocab), jnp.uint16),
        jnp.ones((1, 3)),
        jnp.zeros(1, jnp.int32),
        jnp.zeros((1, 2), jnp.int32),
        jnp.zeros((1, 2)),
    )
    no = jnp.zeros(rows, bool)
    masks = Masks(jnp.zeros((rows, -(-vocab // 32)), jnp.uint32), no)
    return Asked(sampling, rules, jnp.zeros(rows, jnp.int32), no, masks, column("logprobs", False, bool))


def some_rules(rng):
    """Rules of all slots, as if requests of every kind had them."""
    kinds = np.asarray([0, 0, 0, 1, 2, IN_PROMPT, IN_PROMPT | 3, ENDS, ENDS | 1], np.uint16)
    bias_ids = np.stack([rng.choice(VOCAB + 50, MAX_LOGIT_BIAS, replace=False) for _ in range(SLOTS)])
    return LogitRules(
        jnp.asarray(kinds[rng.integers(0, len(kinds), (SLOTS, VOCAB))]),
        jnp.asarray(rng.choice([1.0, 0.5, 1.3], (SLOTS, 3)), jnp.float32),
        jnp.asarray(rng.integers(0, 20, SLOTS), jnp.int32),
        jnp.asarray(np.minimum(bias_ids, VOCAB), jnp.int32),
        jnp.asarray(rng.normal(0, 4, (SLOTS, MAX_LOGIT_BIAS)), jnp.float32),
    )


@given(seed=st.integers(0, 2**32 - 1), spread=st.sampled_from([0.05, 1.0, 4.0, 12.0]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_draws_what_the_plain_sampler_draws(each_isa, seed, spread):
    rng = np.random.default_rng(seed)
    logits = jnp.asarray(rng.standard_normal((ROWS, VOCAB)) * spread, jnp.float32)
    how = {
        "temperature": rng.choice([0.0, 0.3, 1.0, 2.0], ROWS),
        "top_k": rng.choice([-1, 1, 2, 63, 64, 65, 400, VOCAB - 1, VOCAB, 5000], ROWS),
        "top_p": rng.choice([0.01, 0.5, 0.9, 0.999, 1.0], ROWS),
        "min_p": rng.choice([0.0, 0.0, 0.02, 0.5, 1.0], ROWS),
        "seed": rng.integers(0, 2**32, ROWS, np.uint32),
        "position": rng.integers(0, 30, ROWS),
        "logprobs": rng.random(ROWS) < 0.5,
    }
    bits = rng.integers(0, 2**32, (ROWS, -(-VOCAB // 32)), np.uint32)
    asked = asks(ROWS, VOCAB, **how)._replace(
        rules=some_rules(rng),
        slot=jnp.asarray(rng.integers(0, SLOTS, ROWS), jnp.int32),
        adjusts=jnp.asarray(rng.random(ROWS) < 0.5),
        masks=Masks(jnp.asarray(bits), jnp.asarray(rng.random(ROWS) < 0.3)),
    )
    expected, logprobs = jitted_draw(logits, asked)
    wanted = how["logprobs"]
    for isa in each_isa():
        drawn, own = jitted_native(logits, asked)
        assert drawn.tolist() == expected.tolist(), isa
        for ours, plain in zip(own, logprobs, strict=True):
            np.testing.assert_allclose(ours[wanted], plain[wanted], atol=2e-4, err_msg=isa)


@given(
    vocab=st.sampled_from([1, 2, 127, 128, 129, 300]),
    seed=st.integers(0, 2**32 - 1),
    top_k=st.sampled_from([-1, 2, 64, 90]),
    top_p=st.sampled_from([0.2, 0.95, 1.0]),
    min_p=st.sampled_from([0.0, 0.1]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_small_vocabularies_with_ties_keep_what_the_filters_say(each_isa, vocab, seed, top_k, top_p, min_p):
    rng = np.random.default_rng(seed)
    logits = rng.integers(-8, 3, vocab).astype(np.float32) / 2
    rows = 64
    asked = asks(rows, vocab, top_k=top_k, top_p=top_p, min_p=min_p, seed=np.arange(rows) + seed % 2**31)
    ordered = np.sort(logits)[::-1].astype(np.float64)
    weight = np.exp(ordered - ordered[0]) * (np.arange(vocab) < (top_k if top_k > 0 else vocab))
    kept = (weight > 0) & (np.cumsum(weight) - weight < top_p * weight.sum() * (1 + 1e-6))
    lowest = max(ordered[kept].min(), ordered[0] + np.log(max(min_p * (1 - 1e-6), 1e-30)))
    for isa in each_isa():
        drawn, _ = jitted_native(jnp.broadcast_to(jnp.asarray(logits), (rows, vocab)), asked)
        assert logits[np.asarray(drawn)].min() >= lowest, isa


@pytest.mark.parametrize("how", [{}, {"top_k": 300}, {"top_p": 0.97}, {"temperature": 3.0, "min_p": 0.01}])
def test_frequencies_follow_the_distribution(how):
    rows, vocab = 20_000, 400
    logits = np.linspace(6, -6, vocab).astype(np.float32)
    drawn, _ = jitted_native(
        jnp.broadcast_to(jnp.asarray(logits), (rows, vocab)), asks(rows, vocab, seed=np.arange(rows), **how)
    )
    weight = np.exp((logits - logits[0]).astype(np.float64) / how.get("temperature", 1.0))
    weight[how.get("top_k", vocab) :] = 0
    weight[np.cumsum(weight) - weight >= how.get("top_p", 1.0) * weight.sum()] = 0
    weight[weight < how.get("min_p", 0.0)] = 0
    expected = rows * weight / weight.sum()
    counts = np.bincount(drawn, minlength=vocab)
    assert counts[expected == 0].sum() == 0
    # Pearson's statistic: mean k-1, standard deviation sqrt(2(k-1)); seeds are fixed, so this never flickers.
    common = expected >= 5
    statistic = ((counts - expected)[common] ** 2 / expected[common]).sum()
    freedom = common.sum() - 1
    assert statistic < freedom + 5 * np.sqrt(2 * freedom)


def test_logits_that_are_no_numbers_harm_nobody():
    """A row of NaN, or one whose grammar allows nothing, still draws some token, and others are not disturbed."""
    rows, vocab = 5, 300
    logits = np.zeros((rows, vocab), np.float32)
    logits[0], logits[1] = np.nan, -np.inf
    logits[2, 5], logits[2, 9] = np.nan, 30.0
    logits[3, 7], logits[4, 8] = np.inf, 30.0
    for how in ({}, {"temperature": 0.0}, {"top_k": 200}, {"top_p": 0.5}):
        drawn, logprobs = jitted_native(jnp.asarray(logits), asks(rows, vocab, **how, logprobs=True))
        assert drawn.tolist()[2:] == [9, 7, 8]
        assert all(0 <= token < vocab for token in drawn.tolist())
        np.testing.assert_allclose(logprobs.drawn[4], 0.0, atol=1e-4)


def test_xla_counts_enough_work_to_draw_in_the_background():
    """It runs programs of fewer operations on the thread that calls them, and native kernels count for none."""
    compiled = jitted_native.lower(jnp.zeros((1, 300)), asks(1, 300)).compile()
    assert compiled.cost_analysis()["flops"] >= 1000
