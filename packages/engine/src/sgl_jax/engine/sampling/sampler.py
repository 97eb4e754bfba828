"""One token a row: temperature, then top-k, top-p and min-p as one threshold, then one uniform number.

Each filter keeps a set of likeliest tokens, so all of them together are "keep what is at least this
likely". The threshold comes from the best `CANDIDATES` tokens where they suffice (nearly always);
otherwise from a bisection over the whole row. Rows never influence each other: a seeded row draws
the same token alone and in any batch.

What a step does not need it does not compute: without sampled rows only an argmax runs; without
top-k and top-p no candidates are sought; the bisection runs only when a row asks for it.
"""

from __future__ import annotations

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
    greedy = (inputs.temperature < GREEDY_EPSILON) | (inputs.top_k == 1)
    likeliest = select.argmax(logits)
    return lax.cond(
        greedy.all(),
        lambda: likeliest,
        lambda: jnp.where(greedy, likeliest, _draw(logits, greedy, inputs)),
    )


def _draw(logits: jax.Array, greedy: jax.Array, inputs: SamplingInputs) -> jax.Array:
    scaled = logits / jnp.where(greedy, 1.0, inputs.temperature)[:, None]
    scaled = scaled - scaled.max(-1, keepdims=True)
    filtered = ~greedy & ((inputs.top_k > 0) | (inputs.top_p < 1))
    everything = jnp.full(greedy.shape, -jnp.inf, jnp.float32)
    threshold = lax.cond(
        filtered.any(),
        lambda: jnp.where(filtered, _threshold(scaled, filtered, inputs), everything),
        lambda: everything,
    )
    threshold = jnp.maximum(threshold, jnp.log(inputs.min_p))
    weights = jnp.where(scaled >= threshold[:, None], jnp.exp(scaled), 0.0)
    return select.draw(weights, _uniform(inputs.seed, inputs.position))


def _threshold(scaled: jax.Array, filtered: jax.Array, inputs: SamplingInputs) -> jax.Array:
    """float32[R]: the lowest log-weight (relative to the row's best) that top-k and then top-p keep."""
    vocab_size = scaled.shape[1]
    top_k = jnp.where(inputs.top_k > 0, inputs.top_k, vocab_size)
    best, _ = select.top_k(scaled, CANDIDATES)
    rank = jnp.arange(best.shape[1])
    weight = jnp.where(rank < top_k[:, None], jnp.exp(best), 0.0)
    total = jnp.where(top_k <= best.shape[1], weight.sum(-1), jnp.exp(scaled).sum(-1))
    # A candidate belongs to the nucleus when those before it do not reach top_p yet.
    before = jnp.cumsum(weight, axis=-1) - weight
    wanted = inputs.top_p * total
    kept = (before < wanted[:, None]) & (rank < top_k[:, None])
    threshold = jnp.take_along_axis(best, jnp.maximum(kept.sum(-1, keepdims=True) - 1, 0), axis=1)[:, 0]

    unlimited = (top_k >= vocab_size) & (inputs.top_p >= 1)
    known = (top_k <= best.shape[1]) | ((top_k >= vocab_size) & (weight.sum(-1) >= wanted))
    bisected = lax.cond(
        (filtered & ~known & ~unlimited).any(),
        lambda: _bisected_threshold(scaled, top_k, inputs.top_p),
        lambda: threshold,
    )
    return jnp.where(unlimited, -jnp.inf, jnp.where(known, threshold, bisected))


def _bisected_threshold(scaled: jax.Array, top_k: jax.Array, top_p: jax.Array) -> jax.Array:
    """The same over the full row, by halving the range of log-weights: no sort."""
    weights = jnp.exp(scaled)

    def highest(enough: jax.typing.ArrayLike, measure: jax.Array) -> jax.Array:
        """The highest threshold whose kept tokens still measure at least `enough`."""

        def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            low, high = bounds
            middle = (low + high) / 2
            holds = jnp.where(scaled >= middle[:, None], measure, 0.0).sum(-1) >= enough
            return jnp.where(holds, middle, low), jnp.where(holds, high, middle)

        bounds = jnp.full(top_k.shape, _FLOOR, jnp.float32), jnp.zeros(top_k.shape, jnp.float32)
        return lax.fori_loop(0, _BISECTIONS, halve, bounds)[0]

    by_count = highest(top_k.astype(jnp.float32), jnp.ones_like(scaled))
    kept = jnp.where(scaled >= by_count[:, None], weights, 0.0)
    by_mass = highest(top_p * kept.sum(-1), kept)
    return jnp.where(top_p < 1, jnp.maximum(by_count, by_mass), by_count)


def _uniform(seed: jax.Array, position: jax.Array) -> jax.Array:
    """float32[R] in [0, 1), a function of (seed, position) alone."""

    def one(seed: jax.Array, position: jax.Array) -> jax.Array:
        return jax.random.uniform(jax.random.fold_in(jax.random.key(seed), position))

    return jax.vmap(one)(seed, position)
