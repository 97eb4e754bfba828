"""One token a row: temperature, then top-k, top-p and min-p as one threshold, then one race.

Each filter keeps a set of likeliest tokens, so all of them together are "keep what is at least this
likely". The threshold comes from the best `CANDIDATES` tokens where they suffice (nearly always);
otherwise from a bisection over the whole row, which is never sorted.

The draw is a Gumbel race (Gumbel 1954; Maddison et al. 2014): every kept token's log-weight gets
noise that is a hash of (seed, position, token), and the highest wins. So the winner is the same
whether the race is run over the candidates or over the whole vocabulary, alone or in any batch,
and a step whose rows all need only candidates runs it over 64 tokens instead of 150,000.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from sgl_jax.engine.sampling import select
from sgl_jax.engine.sampling_params import GREEDY_EPSILON

CANDIDATES = 64
_FLOOR = -87.0
"""exp() of anything lower is 0 in float32."""
_BISECTIONS = 30
_BITS_A_PASS = 3
"""Bisections that one pass over the logits stands for, where passes are not a loop."""


class SamplingInputs(NamedTuple):
    """How to draw, row by row.

    Attributes:
        temperature, top_p, min_p: float32[R].
        top_k: int32[R]; values below 1 keep all.
        seed: uint32[R].
        position: int32[R], index of the drawn token in its sequence; a seeded sequence uses a fresh number at each.
    """

    temperature: jax.Array
    top_k: jax.Array
    top_p: jax.Array
    min_p: jax.Array
    seed: jax.Array
    position: jax.Array


def sample(logits: jax.Array, inputs: SamplingInputs) -> jax.Array:
    """float32[R, V] -> int32[R]."""
    greedy = is_greedy(inputs)
    likeliest = select.argmax(logits)
    return lax.cond(
        greedy.all(),
        lambda: likeliest,
        lambda: jnp.where(greedy, likeliest, _draw(logits, greedy, inputs)),
    )


def is_greedy(inputs: SamplingInputs) -> jax.Array:
    """bool[R]: whose token is the likeliest one."""
    return (inputs.temperature < GREEDY_EPSILON) | (inputs.top_k == 1)


class _Filter(NamedTuple):
    """What top-k, top-p and min-p leave of each row.

    Attributes:
        threshold: float32[R], lowest logit kept; -inf keeps all. Thresholds are raw logits, not tempered ones:
            the compiler may compute a derived value twice with different rounding, and then the very token that
            set the threshold would fall below it.
        within: bool[R], whether every kept token is among the candidates.
        open: bool[R], whether the threshold is still to be found over the whole row.
    """

    threshold: jax.Array
    within: jax.Array
    open: jax.Array


def _draw(logits: jax.Array, greedy: jax.Array, inputs: SamplingInputs) -> jax.Array:
    best, best_ids = select.top_k(logits, CANDIDATES)
    temperature = jnp.where(greedy, 1.0, inputs.temperature)[:, None]

    def log_weight(x: jax.Array) -> jax.Array:
        return (x - best[:, :1]) / temperature

    kept = _filter(logits, best, log_weight, inputs)
    seed, position = inputs.seed[:, None], inputs.position[:, None]

    def among_candidates() -> jax.Array:
        noisy = log_weight(best) + _gumbel(seed, position, best_ids)
        winner = jnp.where(best >= kept.threshold[:, None], noisy, -jnp.inf).argmax(-1)
        return jnp.take_along_axis(best_ids, winner[:, None], axis=1)[:, 0]

    def among_all() -> jax.Array:
        threshold = lax.cond(
            kept.open.any(),
            lambda: jnp.where(kept.open, _bisected_threshold(logits, best[:, 0], log_weight, inputs), kept.threshold),
            lambda: kept.threshold,
        )
        token = jnp.arange(logits.shape[1], dtype=jnp.int32)[None]
        noisy = log_weight(logits) + _gumbel(seed, position, token)
        return select.argmax(jnp.where(logits >= threshold[:, None], noisy, -jnp.inf))

    return lax.cond((kept.within | greedy).all(), among_candidates, among_all)


def _filter(
    logits: jax.Array, best: jax.Array, log_weight: Callable[[jax.Array], jax.Array], inputs: SamplingInputs
) -> _Filter:
    """Finds each row's threshold among its candidates float32[R, CANDIDATES], as far as they reach."""
    vocab_size, width = logits.shape[1], best.shape[1]
    top_k = jnp.where(inputs.top_k > 0, inputs.top_k, vocab_size)
    limited = top_k < vocab_size
    rank = jnp.arange(width)
    weight = jnp.where(rank < top_k[:, None], jnp.exp(log_weight(best)), 0.0)
    total = jnp.where(limited, weight.sum(-1), jnp.exp(log_weight(logits)).sum(-1))
    # A candidate belongs to the nucleus when those before it do not reach top_p yet.
    wanted = inputs.top_p * total
    nucleus = (_running_sum(weight) - weight < wanted[:, None]) & (rank < top_k[:, None])
    last = jnp.maximum(nucleus.sum(-1, keepdims=True) - 1, 0)
    by_rank = jnp.take_along_axis(best, last, axis=1)[:, 0]

    found = limited & (top_k <= width)
    found |= ~limited & (inputs.top_p < 1) & (weight.sum(-1) >= wanted)
    found |= width >= vocab_size
    unlimited = ~limited & (inputs.top_p >= 1)
    by_min_p = _min_p_threshold(best[:, 0], inputs)
    threshold = jnp.maximum(jnp.where(found, by_rank, -jnp.inf), by_min_p)
    within = found | (unlimited & (by_min_p > best[:, -1]))
    return _Filter(threshold, within, ~found & ~unlimited)


def _min_p_threshold(highest: jax.Array, inputs: SamplingInputs) -> jax.Array:
    """float32[R]: the logit that is `min_p` times as likely as the highest; never above it."""
    return jnp.minimum(highest + inputs.temperature * jnp.log(inputs.min_p), highest)


def _running_sum(x: jax.Array) -> jax.Array:
    """Cumulative sum of float32[R, N] along N for small N, by doubling: compiles to a few additions."""
    shift = 1
    while shift < x.shape[1]:
        x = x + jnp.pad(x, ((0, 0), (shift, 0)))[:, : x.shape[1]]
        shift *= 2
    return x


def _bisected_threshold(
    logits: jax.Array, top: jax.Array, log_weight: Callable[[jax.Array], jax.Array], inputs: SamplingInputs
) -> jax.Array:
    """float32[R]: the threshold of all three filters over the whole row, by halving the range of logits."""
    vocab_size = logits.shape[1]
    top_k = jnp.where(inputs.top_k > 0, inputs.top_k, vocab_size).astype(jnp.float32)
    weights = jnp.exp(log_weight(logits))

    def highest(enough: jax.Array, measure: jax.Array) -> jax.Array:
        """The highest threshold whose kept tokens still measure at least `enough`."""

        def holds(thresholds: jax.Array) -> jax.Array:
            kept = jnp.where(logits[:, None] >= thresholds[:, :, None], measure[:, None], 0.0)
            return kept.sum(-1) >= enough[:, None]

        bounds = top + inputs.temperature * _FLOOR, top
        return lax.platform_dependent(
            *bounds,
            cuda=functools.partial(narrowed_without_loop, holds),
            default=functools.partial(narrowed, holds),
        )

    by_count = highest(top_k, jnp.ones_like(logits))
    kept = jnp.where(logits >= by_count[:, None], weights, 0.0)
    by_mass = highest(inputs.top_p * kept.sum(-1), kept)
    by_both = jnp.where(inputs.top_p < 1, jnp.maximum(by_count, by_mass), by_count)
    return jnp.maximum(by_both, _min_p_threshold(top, inputs))


def narrowed(holds: Callable[[jax.Array], jax.Array], low: jax.Array, high: jax.Array) -> jax.Array:
    """float32[R]: the highest number between the bounds of which bool[R, N] `holds`(float32[R, N]) is still true."""

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = (low + high) / 2
        is_held = holds(middle[:, None])[:, 0]
        return jnp.where(is_held, middle, low), jnp.where(is_held, high, middle)

    return lax.fori_loop(0, _BISECTIONS, halve, (low, high))[0]


def narrowed_without_loop(holds: Callable[[jax.Array], jax.Array], low: jax.Array, high: jax.Array) -> jax.Array:
    """The same in a few passes of several questions each: a loop would break the step's CUDA graph in two."""
    parts = jnp.arange(1, 1 << _BITS_A_PASS, dtype=jnp.float32) / (1 << _BITS_A_PASS)
    for _ in range(_BISECTIONS // _BITS_A_PASS):
        width = high - low
        held = holds(low[:, None] + width[:, None] * parts).sum(-1) / (1 << _BITS_A_PASS)
        low, high = low + width * held, low + width * (held + 1 / (1 << _BITS_A_PASS))
    return low


def _gumbel(seed: jax.Array, position: jax.Array, token: jax.Array) -> jax.Array:
    """Standard Gumbel noise, a function of (seed, position, token) alone; arguments broadcast.

    High noise comes from uniform numbers near 0, where float32 is fine-grained: a vocabulary's tail
    of tiny probabilities is drawn as often as it should be, not in steps of 2^-24.
    """
    key = _scramble(seed ^ _scramble(position.astype(jnp.uint32) + jnp.uint32(0x9E3779B9)))
    bits = _scramble(_scramble(token.astype(jnp.uint32) * jnp.uint32(0x9E3779B1) ^ key) + key)
    uniform = jnp.minimum((bits.astype(jnp.float32) + 0.5) * jnp.float32(2**-32), jnp.float32(1 - 2**-24))
    return -jnp.log(-jnp.log1p(-uniform))


def _scramble(x: jax.Array) -> jax.Array:
    """The finaliser of MurmurHash3 (Appleby 2011): every bit of uint32 depends on all others."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
