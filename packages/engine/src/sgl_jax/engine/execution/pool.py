"""Embeddings: a second small program behind the step, in engines that make nothing else.

The step leaves the last layer's output of every token. Here the outputs that count are normed, as they are before the
output head, and added up row by row: the last token's, the first one's, or all of them. What is left, dividing and
shortening, is the host's (`scheduling.pooling`), who also adds up the chunks of a long text.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from sgl_jax.engine.execution.step import StepModel
from sgl_jax.engine.models.base import Template
from sgl_jax.engine.models.decoder import Decoder
from sgl_jax.engine.plan import StepPlan


class Pooled(NamedTuple):
    """float32[R, hidden], still on the device."""

    sums: jax.Array


PoolFunction = Callable[[tuple[jax.Array, ...], jax.Array, jax.Array], Pooled]


def make_pool(model: StepModel, num_rows: int) -> PoolFunction:
    """The pure function `pool(leaves of the ends, hidden[T, H], row int32[T])`, ready for `jax.jit`.

    It returns float32[num_rows, H], the sums of the tokens of each row; a token whose row is `num_rows` counts nowhere.
    """
    return functools.partial(_pool, model.ends, num_rows)


def pool_inputs(plan: StepPlan, num_tokens: int, num_rows: int) -> npt.NDArray[np.int32]:
    """The row of each of a plan's tokens that counts, int32[num_tokens]."""
    rows = np.full(num_tokens, num_rows, np.int32)
    begin = 0
    for row, slot in enumerate(plan.slots):
        if slot.pooled is not None:
            first, end = slot.pooled
            rows[begin + first : begin + end] = row
        begin += slot.num_tokens
    return rows


def _pool(
    template: Template[Decoder], num_rows: int, leaves: tuple[jax.Array, ...], hidden: jax.Array, row: jax.Array
) -> Pooled:
    outputs = template.bind(leaves).norm(hidden).astype(jnp.float32)
    # Nought times what padding holds need not be nought.
    outputs = jnp.where(row[:, None] < num_rows, outputs, 0)
    # As a product: on GPUs, adding in place does so in any order.
    counts = (row[None, :] == jnp.arange(num_rows, dtype=jnp.int32)[:, None]).astype(jnp.float32)
    return Pooled(jnp.matmul(counts, outputs, precision=jax.lax.Precision.HIGHEST))
