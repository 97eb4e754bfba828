"""Log-probabilities of the prompt itself: a second small program behind the step, run only for those who ask.

The step leaves the last layer's output of every token; logits are made of it here, a block of rows at a time, so that
no array of tokens times vocabulary ever exists. Blocks in which nobody asks are passed over.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from sgl_jax.engine.execution.step import StepModel
from sgl_jax.engine.models.base import Template
from sgl_jax.engine.models.decoder import Decoder
from sgl_jax.engine.sampling.logprobs import Logprobs, no_logprobs, token_logprobs

BLOCK = 64
"""Rows whose logits exist at the same time; with 150,000 tokens in the vocabulary, 40 MB."""
NO_TARGET = -1

ScoreFunction = Callable[[tuple[jax.Array, ...], jax.Array, jax.Array], Logprobs]


def make_score(model: StepModel) -> ScoreFunction:
    """The pure function `score(leaves of the ends, hidden[T, H], targets int32[T])`, ready for `jax.jit`.

    Row t of what it returns is the log-probability of `targets[t]` behind token t, and the likeliest tokens there;
    where a target is `NO_TARGET`, it is arbitrary.
    """
    return functools.partial(_score, model.ends)


def _score(
    template: Template[Decoder], leaves: tuple[jax.Array, ...], hidden: jax.Array, targets: jax.Array
) -> Logprobs:
    ends = template.bind(leaves)
    rows = hidden.shape[0]
    size = min(BLOCK, rows)
    shape = jax.eval_shape(ends.logits, hidden[:size])

    def block(index: jax.Array, found: Logprobs) -> Logprobs:
        # The last block overlaps the one before where blocks do not fill the rows: done twice, and right twice.
        start = jnp.minimum(index * size, rows - size)
        wanted = lax.dynamic_slice_in_dim(targets, start, size)
        part = lax.cond(
            (wanted != NO_TARGET).any(),
            lambda: token_logprobs(ends.logits(lax.dynamic_slice_in_dim(hidden, start, size)), jnp.maximum(wanted, 0)),
            lambda: no_logprobs(*shape.shape),
        )
        return jax.tree.map(lambda whole, new: lax.dynamic_update_slice_in_dim(whole, new, start, 0), found, part)

    return lax.fori_loop(0, -(-rows // size), block, no_logprobs(rows, shape.shape[1]))
