"""From a step's logits to its tokens: adjust them, draw, and say how likely the tokens were."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax

from sgl_jax.engine.sampling.adjust import LogitRules, Masks, adjust
from sgl_jax.engine.sampling.logprobs import Logprobs, gather_logprobs
from sgl_jax.engine.sampling.sampler import SamplingInputs, is_greedy, sample


class Asked(NamedTuple):
    """What a step's rows ask for.

    Attributes:
        sampling: how each row draws.
        rules: how to adjust logits, of all slots.
        slot: int32[R], which rules are whose.
        adjusts: bool[R]; the rules of other rows are not looked at.
        masks: which tokens may be drawn.
        logprobs: bool[R], who wants to know log-probabilities.
    """

    sampling: SamplingInputs
    rules: LogitRules
    slot: jax.Array
    adjusts: jax.Array
    masks: Masks
    logprobs: jax.Array

    @property
    def is_simple(self) -> jax.Array:
        """bool[]: every row takes its likeliest token, and that is all."""
        more = self.adjusts | self.masks.wanted | self.logprobs
        return is_greedy(self.sampling).all() & ~more.any()


Draw = Callable[[jax.Array, Asked], tuple[jax.Array, Logprobs]]
"""float32[R, V] and what is asked -> int32[R], and log-probabilities of these before any adjustment, temperature or
filter; arbitrary in rows that do not want them."""


def draw(logits: jax.Array, asked: Asked) -> tuple[jax.Array, Logprobs]:
    """The `Draw` of every device: plain JAX."""
    own = adjust(logits, asked.rules, asked.slot, asked.sampling.position, asked.adjusts, asked.masks)
    drawn = sample(own, asked.sampling)
    return drawn, gather_logprobs(logits, drawn, asked.logprobs.any())
