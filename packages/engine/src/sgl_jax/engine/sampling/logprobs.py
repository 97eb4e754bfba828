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


def token_logprobs(logits: jax.Array, token_ids: jax.Array) -> Logprobs:
    """Log-softmax of float32[R, V] at int32[R], and the likeliest tokens."""
    normaliser = jax.nn.logsumexp(logits, axis=-1)
    drawn = jnp.take_along_axis(logits, token_ids[:, None], axis=1)[:, 0] - normaliser
    top, top_ids = select.top_k(logits, min(MAX_LOGPROBS, logits.shape[1]))
    return Logprobs(drawn, top_ids, top - normaliser[:, None])


def chosen_logprobs(logits: jax.Array, token_ids: jax.Array) -> jax.Array:
    """Log-softmax of float32[R, V] at int32[R, K]."""
    return jnp.take_along_axis(logits, token_ids, axis=1) - jax.nn.logsumexp(logits, axis=-1, keepdims=True)


def no_logprobs(rows: int, vocab_size: int) -> Logprobs:
    """Zeros in the shape of `token_logprobs`."""
    count = min(MAX_LOGPROBS, vocab_size)
    return Logprobs(
        jnp.zeros(rows, jnp.float32), jnp.zeros((rows, count), jnp.int32), jnp.zeros((rows, count), jnp.float32)
    )


def gather_logprobs(logits: jax.Array, token_ids: jax.Array, wanted: jax.Array) -> Logprobs:
    """Log-softmax of float32[R, V] at int32[R], before temperature and filters; zeros unless `wanted` (a bool)."""
    return lax.cond(wanted, lambda: token_logprobs(logits, token_ids), lambda: no_logprobs(*logits.shape))
