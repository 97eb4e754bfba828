"""Log-probabilities of the prompt itself: a second small program behind the step, run only for those who ask.

The step leaves the last layer's output of every token; logits are made of it here, a block of rows at a time, so that
no array of tokens times vocabulary ever exists. Blocks in which nobody asks are passed over.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import lax

from sgl_jax.engine.execution.step import StepModel
from sgl_jax.engine.plan import StepPlan
from sgl_jax.engine.sampling.logprobs import Logprobs, chosen_logprobs, no_logprobs, token_logprobs
from sgl_jax.engine.sampling_params import MAX_CHOSEN_LOGPROBS

BLOCK = 64
"""Rows whose logits exist at the same time; with 150,000 tokens in the vocabulary, 40 MB."""
NO_TARGET = -1


class Scores(NamedTuple):
    """What may follow each token, still on the device.

    Attributes:
        targets: of the token that does follow, and the likeliest ones.
        chosen: float32[T, MAX_CHOSEN_LOGPROBS], of those that the token's request chose.
    """

    targets: Logprobs
    chosen: jax.Array


class ScoreInputs(NamedTuple):
    """What is asked of each token.

    Attributes:
        targets: int32[T], the token behind it; `NO_TARGET` where nobody asks, and any other where only chosen tokens
            are asked for.
        row: int32[T], whose choice is meant.
        chosen: int32[R, MAX_CHOSEN_LOGPROBS], the choice of each row.
    """

    targets: npt.NDArray[np.int32] | jax.Array
    row: npt.NDArray[np.int32] | jax.Array
    chosen: npt.NDArray[np.int32] | jax.Array


ScoreFunction = Callable[[tuple[jax.Array, ...], jax.Array, ScoreInputs], Scores]


def make_score(model: StepModel) -> ScoreFunction:
    """The pure function `score(leaves of the ends, hidden[T, H], inputs)`, ready for `jax.jit`.

    Row t of what it returns is the log-probability of `targets[t]` behind token t, the likeliest tokens there, and the
    chosen ones; where a target is `NO_TARGET`, it is arbitrary.
    """
    return functools.partial(_score, model)


def score_inputs(plan: StepPlan, num_tokens: int, num_rows: int) -> ScoreInputs:
    """What a plan asks."""
    targets = np.full(num_tokens, NO_TARGET, np.int32)
    rows = np.zeros(num_tokens, np.int32)
    chosen = np.zeros((num_rows, MAX_CHOSEN_LOGPROBS), np.int32)
    begin = 0
    for row, slot in enumerate(plan.slots):
        end = begin + slot.num_tokens
        targets[begin : begin + len(slot.targets)] = slot.targets
        if wanted := slot.sampling.token_ids_logprob:
            rows[begin:end] = row
            chosen[row, : len(wanted)] = wanted
            if slot.sample:
                targets[end - 1] = 0
        begin = end
    return ScoreInputs(targets, rows, chosen)


def _score(model: StepModel, leaves: tuple[jax.Array, ...], hidden: jax.Array, inputs: ScoreInputs) -> Scores:
    ends = model.ends.bind(leaves)
    chosen = jnp.asarray(inputs.chosen)
    rows = hidden.shape[0]
    size = min(BLOCK, rows)
    shape = jax.eval_shape(lambda some: model.whole(ends.logits(some)), hidden[:size])

    def nothing(count: int) -> Scores:
        return Scores(no_logprobs(count, shape.shape[1]), jnp.zeros((count, chosen.shape[1]), jnp.float32))

    def block(index: jax.Array, found: Scores) -> Scores:
        # The last block overlaps the one before where blocks do not fill the rows: done twice, and right twice.
        start = jnp.minimum(index * size, rows - size)
        wanted, row = (lax.dynamic_slice_in_dim(field, start, size) for field in (inputs.targets, inputs.row))

        def look() -> Scores:
            logits = model.whole(ends.logits(lax.dynamic_slice_in_dim(hidden, start, size)))
            return Scores(token_logprobs(logits, jnp.maximum(wanted, 0)), chosen_logprobs(logits, chosen[row]))

        part = lax.cond((wanted != NO_TARGET).any(), look, lambda: nothing(size))
        return jax.tree.map(lambda whole, new: lax.dynamic_update_slice_in_dim(whole, new, start, 0), found, part)

    return lax.fori_loop(0, -(-rows // size), block, nothing(rows))
