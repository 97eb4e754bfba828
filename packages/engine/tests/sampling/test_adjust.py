"""Adjusted logits against NumPy, straight from the definitions, and that nobody else's logits are touched."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgl_jax.engine.execution.slot_rules import upload_rules
from sgl_jax.engine.plan import SlotHistory
from sgl_jax.engine.sampling import adjust
from sgl_jax.engine.sampling_params import SamplingParams

VOCAB, SLOTS, ROWS = 200, 4, 3
CPU = jax.devices("cpu")[0]
jitted_adjust = jax.jit(adjust.adjust)
jitted_count = jax.jit(adjust.count_drawn)
jitted_load = jax.jit(adjust.load)


def rules_of(requests):
    """Slot `i` holds `requests[i]`, a pair of sampling parameters and history; other slots hold rubbish."""
    rules = adjust.LogitRules(*(jnp.full_like(array, 7) for array in adjust.no_rules(SLOTS, VOCAB, CPU)))
    for slot, (sampling, history) in enumerate(requests):
        rules = jitted_load(rules, jnp.int32(slot), upload_rules(sampling, history, VOCAB, CPU))
    return rules


def masks_of(allowed):
    """The masks of `ROWS` rows, from a set of tokens each; None for a row without one (its bits are rubbish)."""
    bits = np.full((len(allowed), -(-VOCAB // 32)), 0x5A5A5A5A, np.uint32)
    for row, tokens in enumerate(allowed):
        if tokens is not None:
            bits[row] = 0
            for token in tokens:
                bits[row, token // 32] |= np.uint32(1 << token % 32)
    return adjust.Masks(jnp.asarray(bits), jnp.asarray([tokens is not None for tokens in allowed]))


def reference(logits, sampling, history, position):
    """What Hugging Face's RepetitionPenaltyLogitsProcessor and OpenAI's penalties say, token by token."""
    adjusted = logits.astype(np.float64)
    generated = list(history.generated_ids)
    for token in range(VOCAB):
        if token in history.prompt_ids or token in generated:
            penalty = sampling.repetition_penalty
            adjusted[token] = adjusted[token] / penalty if adjusted[token] > 0 else adjusted[token] * penalty
        adjusted[token] -= sampling.frequency_penalty * generated.count(token)
        adjusted[token] -= sampling.presence_penalty * (token in generated)
        adjusted[token] += sampling.logit_bias.get(token, 0.0)
        if token in history.ending_ids and position - len(history.prompt_ids) < sampling.min_new_tokens:
            adjusted[token] = -np.inf
    return adjusted


tokens = st.integers(0, VOCAB - 1)
samplings = st.builds(
    SamplingParams,
    frequency_penalty=st.sampled_from([0.0, -2.0, 0.5, 2.0]),
    presence_penalty=st.sampled_from([0.0, -1.5, 1.0]),
    repetition_penalty=st.sampled_from([1.0, 0.5, 1.3, 2.0]),
    min_new_tokens=st.integers(0, 12),
    logit_bias=st.dictionaries(tokens, st.floats(-100, 100, width=32), max_size=8),
)
histories = st.builds(
    SlotHistory,
    st.lists(tokens, min_size=1, max_size=20),
    st.lists(st.integers(0, 20), max_size=20),
    st.frozensets(tokens, max_size=5),
)


@given(st.lists(st.tuples(samplings, histories), min_size=SLOTS, max_size=SLOTS), st.integers(0, 2**31), st.data())
@settings(max_examples=80, deadline=None)
def test_every_row_gets_its_own_slots_rules(requests, seed, data):
    slots = data.draw(st.permutations(range(SLOTS)))[:ROWS]
    asks = data.draw(st.lists(st.booleans(), min_size=ROWS, max_size=ROWS))
    allowed = data.draw(st.lists(st.none() | st.frozensets(tokens), min_size=ROWS, max_size=ROWS))
    logits = np.random.default_rng(seed).standard_normal((ROWS, VOCAB)).astype(np.float32) * 4
    lengths = [len(history.prompt_ids) + len(history.generated_ids) for _, history in requests]
    positions = np.asarray([lengths[slot] for slot in slots], np.int32)
    rules = rules_of(requests)
    got = np.asarray(
        jitted_adjust(jnp.asarray(logits), rules, jnp.asarray(slots), positions, jnp.asarray(asks), masks_of(allowed))
    )
    for row, slot in enumerate(slots):
        expected = reference(logits[row], *requests[slot], positions[row]) if asks[row] else logits[row].copy()
        if allowed[row] is not None:
            expected[[token for token in range(VOCAB) if token not in allowed[row]]] = -np.inf
        if asks[row]:
            np.testing.assert_allclose(got[row], expected, rtol=1e-5, atol=2e-5)
        else:
            np.testing.assert_array_equal(got[row], expected)


def test_counting_draws_equals_loading_them():
    sampling = SamplingParams(frequency_penalty=1)
    drawn = [5, 9, 5, 0, VOCAB - 1]
    rules = rules_of([(sampling, SlotHistory([5, 3], [], {9}))] * SLOTS)
    for token in drawn:
        rules = jitted_count(rules, jnp.asarray([2, SLOTS, 0]), jnp.asarray([token, 1, 2]))
    expected = rules_of([(sampling, SlotHistory([5, 3], ids, {9})) for ids in ([2] * len(drawn), [], drawn, [])])
    np.testing.assert_array_equal(np.asarray(rules.history), np.asarray(expected.history))


@pytest.mark.parametrize("times", [adjust.MAX_COUNT, 20_000])
def test_a_full_counter_stays_full_and_spills_nowhere(times):
    rules = rules_of([(SamplingParams(), SlotHistory([1], [4] * times, set()))])
    rules = jitted_count(rules, jnp.asarray([0, SLOTS, SLOTS]), jnp.asarray([4, 0, 0]))
    assert int(rules.history[0, 4]) == adjust.MAX_COUNT


def test_an_end_beyond_the_vocabulary_is_no_error():
    rules = upload_rules(SamplingParams(min_new_tokens=2), SlotHistory([1], [], {3, VOCAB + 5}), VOCAB, CPU)
    assert np.flatnonzero(np.asarray(rules.history) & adjust.ENDS).tolist() == [3]


def test_counting_updates_the_history_in_place():
    # A copy would cost every step slots * V * 2 bytes of traffic: megabytes on CPU, a hundred on GPU.
    rules = adjust.no_rules(64, 50_000, CPU)

    def step(rules, logits, slot, asks):
        masks = adjust.Masks(jnp.zeros((2, -(-50_000 // 32)), jnp.uint32), asks)
        adjusted = adjust.adjust(logits, rules, slot, slot, asks, masks)
        return adjust.count_drawn(rules, jnp.where(asks, slot, 64), adjusted.argmax(-1)), logits

    logits, slot, asks = jnp.zeros((2, 50_000)), jnp.arange(2), jnp.ones(2, bool)
    memory = jax.jit(step, donate_argnums=0).lower(rules, logits, slot, asks).compile().memory_analysis()
    assert memory.alias_size_in_bytes == sum(array.nbytes for array in rules)
    assert memory.temp_size_in_bytes < rules.history.nbytes / 2
