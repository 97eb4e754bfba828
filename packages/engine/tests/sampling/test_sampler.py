"""The sampler against NumPy: which tokens may be drawn, how often, and that rows never disturb each other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgl_jax.engine.sampling import select
from sgl_jax.engine.sampling.logprobs import gather_logprobs
from sgl_jax.engine.sampling.sampler import SamplingInputs, narrowed, narrowed_without_loop, sample

VOCAB = 300
jitted_sample = jax.jit(sample)
jitted_top_k = jax.jit(select.top_k, static_argnums=1)
jitted_argmax = jax.jit(select.argmax)


def inputs(rows, *, temperature=1.0, top_k=-1, top_p=1.0, min_p=0.0, seed=0, position=0):
    def column(value, dtype):
        return jnp.broadcast_to(jnp.asarray(value, dtype), (rows,))

    return SamplingInputs(
        column(temperature, jnp.float32),
        column(top_k, jnp.int32),
        column(top_p, jnp.float32),
        column(min_p, jnp.float32),
        column(seed, jnp.uint32),
        column(position, jnp.int32),
    )


def allowed(logits, temperature, top_k, top_p, min_p):
    """The set that temperature, top-k, top-p, min-p leave, by sorting: the definition."""
    scaled = logits.astype(np.float64) / temperature
    order = np.argsort(-scaled, kind="stable")
    weights = np.exp(scaled[order] - scaled[order[0]])
    keep = np.ones(len(order), bool)
    if top_k > 0:
        keep[top_k:] = False
    weights = weights * keep
    before = np.cumsum(weights) - weights
    keep &= before < top_p * weights.sum()
    keep &= weights >= min_p * weights[0]
    return set(order[keep].tolist())


@given(
    seed=st.integers(0, 2**32 - 1),
    spread=st.sampled_from([0.1, 1.0, 4.0]),
    temperature=st.sampled_from([0.3, 1.0, 2.0]),
    top_k=st.sampled_from([-1, 2, 5, 64, 100, 299, 1000]),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 0.999, 1.0]),
    min_p=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
)
@settings(max_examples=150, deadline=None)
def test_draws_only_what_the_filters_leave(seed, spread, temperature, top_k, top_p, min_p):
    rng = np.random.default_rng(seed)
    logits = (rng.standard_normal(VOCAB) * spread).astype(np.float32)
    rows = 64
    drawn = jitted_sample(
        jnp.broadcast_to(jnp.asarray(logits), (rows, VOCAB)),
        inputs(rows, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, seed=np.arange(rows) + seed),
    )
    # Values a rounding error away from a threshold may fall on either side.
    generous = allowed(logits, temperature, top_k + (top_k > 0), min(1.0, top_p * 1.0001 + 1e-6), min_p * 0.9999)
    assert set(np.asarray(drawn).tolist()) <= generous


@pytest.mark.parametrize(
    ("top_k", "top_p", "min_p"), [(-1, 1.0, 0.0), (3, 1.0, 0.0), (-1, 0.8, 0.0), (-1, 1, 0.2), (90, 0.95, 0)]
)
def test_frequencies_follow_the_distribution(top_k, top_p, min_p):
    rows = 20000
    logits = np.linspace(3, -3, VOCAB).astype(np.float32) * 2
    keep = sorted(allowed(logits, 1.0, top_k, top_p, min_p))
    weights = np.exp(logits[keep] - logits.max())
    expected = weights / weights.sum()
    drawn = np.asarray(
        jitted_sample(
            jnp.broadcast_to(jnp.asarray(logits), (rows, VOCAB)),
            inputs(rows, top_k=top_k, top_p=top_p, min_p=min_p, seed=np.arange(rows)),
        )
    )
    counts = np.bincount(drawn, minlength=VOCAB)
    assert counts.sum() == counts[keep].sum()
    # Pearson's statistic: mean k-1, standard deviation sqrt(2(k-1)); seeds are fixed, so this never flickers.
    common = expected * rows >= 5
    statistic = ((counts[keep] - expected * rows)[common] ** 2 / (expected * rows)[common]).sum()
    freedom = common.sum() - 1
    assert statistic < freedom + 5 * np.sqrt(2 * freedom) + 1


def test_greedy_rows_take_the_first_maximum_whatever_their_neighbours_do():
    logits = np.zeros((4, VOCAB), np.float32)
    logits[:, [7, 200]] = 5.0
    mixed = jitted_sample(jnp.asarray(logits), inputs(4, temperature=[0.0, 1.0, 0.0, 2.0], top_k=[-1, 1, 5, 200]))
    assert np.asarray(mixed)[:3].tolist() == [7, 7, 7]


@given(seed=st.integers(0, 2**31), neighbours=st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_a_seeded_row_draws_the_same_alone_and_in_any_batch(seed, neighbours):
    rng = np.random.default_rng(seed)
    own = rng.standard_normal(VOCAB).astype(np.float32)
    choices = {
        "temperature": 0.9,
        "top_k": int(rng.integers(-1, 120)),
        "top_p": float(rng.uniform(0.2, 1)),
        "seed": seed,
    }
    alone = int(jitted_sample(jnp.asarray(own[None]), inputs(1, **choices, position=5))[0])
    rng = np.random.default_rng(neighbours)
    others = rng.standard_normal((7, VOCAB)).astype(np.float32) * 3
    batch = inputs(
        8,
        temperature=[0.9, 0.0, 1.0, 1.0, 1.0, 2.0, 0.5, 1.0],
        top_k=[choices["top_k"], -1, 3, 250, -1, 1, 70, -1],
        top_p=[choices["top_p"], 1.0, 1.0, 0.9, 0.99, 0.5, 1.0, 1.0],
        seed=[seed, 1, 2, 3, 4, 5, 6, 7],
        position=[5, 0, 1, 2, 3, 4, 5, 6],
    )
    together = jitted_sample(jnp.asarray(np.concatenate([own[None], others])), batch)
    assert int(together[0]) == alone


@pytest.mark.parametrize("filters", [{"top_p": 0.01}, {"top_k": 2, "top_p": 0.01}, {"min_p": 1.0}, {"top_k": 1}])
def test_filters_that_leave_one_token_leave_the_likeliest(filters):
    # Beside rows without filters, so that the race runs over the whole vocabulary.
    rng = np.random.default_rng(3)
    rows = 256
    logits = rng.standard_normal((rows, VOCAB)).astype(np.float32) * 7
    columns = {"top_k": -1, "top_p": 1.0, "min_p": 0.0} | filters
    neutral = {"top_k": -1, "top_p": 1.0, "min_p": 0.0}
    mixed = {name: np.where(np.arange(rows) % 2, neutral[name], columns[name]) for name in columns}
    drawn = jitted_sample(
        jnp.asarray(logits), inputs(rows, temperature=rng.uniform(0.2, 3, rows), seed=np.arange(rows), **mixed)
    )
    np.testing.assert_array_equal(np.asarray(drawn)[::2], logits.argmax(-1)[::2])


def test_a_long_tail_is_drawn_no_oftener_than_it_weighs():
    rows, vocab = 1024, 50_000
    logits = np.full((1, vocab), np.log(1e-5 / vocab), np.float32)  # the whole tail weighs 1e-5
    logits[0, 0] = 0.0
    drawn = jitted_sample(jnp.broadcast_to(jnp.asarray(logits), (rows, vocab)), inputs(rows, seed=np.arange(rows)))
    assert int((np.asarray(drawn) != 0).sum()) == 0  # 0.01 expected


def test_positions_give_fresh_draws():
    logits = jnp.zeros((64, VOCAB))
    drawn = jitted_sample(logits, inputs(64, seed=1, position=np.arange(64)))
    assert len(set(np.asarray(drawn).tolist())) > 40


@given(st.sampled_from([1, 63, 128, 700]), st.sampled_from([1, 20, 80]), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_two_stage_selection_is_exact(size, k, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(-9, 9, (3, size)).astype(np.float32)  # many ties
    values, index = jitted_top_k(jnp.asarray(x), k)
    order = np.argsort(-x, axis=-1, kind="stable")[:, : min(k, size)]
    np.testing.assert_array_equal(np.asarray(values), np.take_along_axis(x, order, 1))
    np.testing.assert_array_equal(np.asarray(index), order)
    np.testing.assert_array_equal(np.asarray(jitted_argmax(jnp.asarray(x))), x.argmax(-1))


def test_logprobs_are_those_of_the_untempered_distribution():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((3, VOCAB)).astype(np.float32) * 4
    drawn = np.asarray([4, 5, 6], np.int32)
    got = gather_logprobs(jnp.asarray(logits), jnp.asarray(drawn), jnp.asarray(True))
    reference = logits - np.log(np.exp(logits.astype(np.float64)).sum(-1, keepdims=True))
    np.testing.assert_allclose(np.asarray(got.drawn), reference[np.arange(3), drawn], atol=1e-4)
    order = np.argsort(-reference, axis=-1)[:, :20]
    np.testing.assert_array_equal(np.asarray(got.top_ids), order)
    np.testing.assert_allclose(np.asarray(got.top), np.take_along_axis(reference, order, 1), atol=1e-4)


def test_thresholds_are_found_alike_with_and_without_a_loop():
    """What a GPU computes in passes, and a CPU in a loop."""
    highest = jnp.asarray([-3.0, 0.25, 7.0, -40.0])

    def holds(thresholds):
        return thresholds <= highest[:, None]

    low, high = jnp.full(4, -87.0), jnp.asarray([2.0, 0.25, 9.0, 30.0])
    found = narrowed_without_loop(holds, low, high)
    np.testing.assert_allclose(found, narrowed(holds, low, high), atol=2e-5)
    assert bool(holds(found[:, None]).all())
