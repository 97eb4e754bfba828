"""Log-probabilities of drawn tokens, for the steps in which someone asked."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from sgl_jax.engine.sampling import select
from sgl_jax.engine.sampling_params import MAX_LOGPROBS


class Logprobs(NamedTuple):
    """float32[R] of the drawn tokens; int32[R, 20] and float32[R, 20] of the likeliest, best first."""

    drawn: jax.Array
    top_ids: jax.Array
    top: jax.Array


def gather_logprobs(logits: jax.Array, token_ids: jax.Array, wanted: jax.Array) -> Logprobs:
    """Log-softmax of float32[R, V] at int32[R], before temperature and filters; zeros unless `wanted` (a bool)."""
    rows = logits.shape[0]
    count = min(MAX_LOGPROBS, logits.shape[1])

    def compute() -> Logprobs:
        normaliser = jax.nn.logsumexp(logits, axis=-1)
        drawn = jnp.take_along_axis(logits, token_ids[:, None], axis=1)[:, 0] - normaliser
        top, top_ids = select.top_k(logits, count)
        return Logprobs(drawn, top_ids, top - normaliser[:, None])

    def nothing() -> Logprobs:
        return Logprobs(
            jnp.zeros(rows, jnp.float32), jnp.zeros((rows, count), jnp.int32), jnp.zeros((rows, count), jnp.float32)
        )

    return lax.cond(wanted, compute, nothing)
