"""Adjusts logits before a token is drawn: penalties, bias, minimum length, grammar. Free in steps where nobody asks.

What a request asks for, and which tokens its sequence holds, lies on the device, a row a slot. A row is
loaded when a request that asks gets the slot, and kept up to date by counting each drawn token;
rows of other requests hold whatever was there before and are never looked at.

For a token with logit x, in this order:

- `repetition_penalty` r (Keskar et al. 2019, section 4.1; signs as in Hugging Face and vLLM): if the token
  occurs in prompt or output, x / r where x > 0, else x * r;
- `frequency_penalty` f and `presence_penalty` p (OpenAI): x - f * n - p * (n > 0), n counting the output only;
- `logit_bias`: x + bias. After the penalties, so that +100 and -100 decide whatever came before;
- `min_new_tokens`: -inf for tokens that would end the sequence too early;
- grammar: -inf for tokens outside the step's mask, which the host computes and uploads.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import lax

from sgl_jax.engine.parallel.mesh import bring
from sgl_jax.engine.sampling_params import MAX_LOGIT_BIAS

IN_PROMPT = 1 << 15
ENDS = 1 << 14
MAX_COUNT = ENDS - 1


class LogitRules(NamedTuple):
    """How to adjust the logits of each slot's request. A single slot's rules lack the first axis.

    Attributes:
        history: uint16[slots, V], what the sequence holds of each token: `IN_PROMPT`, `ENDS` (it would end the
            sequence), and in the lower bits how often it was generated, at most `MAX_COUNT`.
        penalties: float32[slots, 3]: repetition, frequency, presence.
        min_length: int32[slots], tokens that `ENDS` are drawn at this position of the sequence or later.
        bias_ids: int32[slots, MAX_LOGIT_BIAS], distinct; V where unused.
        bias: float32[slots, MAX_LOGIT_BIAS].
    """

    history: jax.Array
    penalties: jax.Array
    min_length: jax.Array
    bias_ids: jax.Array
    bias: jax.Array


def no_rules(slots: int, vocab_size: int, device: jax.Device | jax.sharding.Sharding) -> LogitRules:
    """Zeros of the right shapes, to be overwritten by `load`."""

    def zeros(dtype: npt.DTypeLike, *shape: int) -> jax.Array:
        return bring(np.zeros(shape, dtype), device)  # each jnp.zeros would be a program to compile

    return LogitRules(
        zeros(np.uint16, slots, vocab_size),
        zeros(np.float32, slots, 3),
        zeros(np.int32, slots),
        zeros(np.int32, slots, MAX_LOGIT_BIAS),
        zeros(np.float32, slots, MAX_LOGIT_BIAS),
    )


def load(rules: LogitRules, slot: jax.Array, row: LogitRules) -> LogitRules:
    """Replaces a slot's rules (int32[]) by those of the request that has it now."""
    return LogitRules(*(all_rows.at[slot].set(one) for all_rows, one in zip(rules, row, strict=True)))


class Masks(NamedTuple):
    """Which tokens a step's rows may draw.

    Attributes:
        bits: uint32[R, ceil(V / 32)]: bit `t % 32` of word `t // 32` says whether token `t` is allowed.
        wanted: bool[R]; other rows may draw any.
    """

    bits: jax.Array
    wanted: jax.Array


def adjust(
    logits: jax.Array, rules: LogitRules, slot: jax.Array, position: jax.Array, asks: jax.Array, masks: Masks
) -> jax.Array:
    """The logits to draw from.

    Args:
        logits: float32[R, V], the model's own.
        rules: of all slots.
        slot: int32[R], which rules are whose.
        position: int32[R], index of the drawn token in its sequence.
        asks: bool[R]; the rules of other rows are not looked at.
        masks: of the step.

    Returns:
        float32[R, V].
    """

    def adjusted() -> jax.Array:
        own = LogitRules(*(jnp.take(array, slot, axis=0, mode="clip") for array in rules))
        repetition, frequency, presence = (own.penalties[:, column, None] for column in range(3))
        count = (own.history & MAX_COUNT).astype(jnp.float32)
        occurs = (own.history & (IN_PROMPT | MAX_COUNT)) > 0
        x = jnp.where(occurs, jnp.where(logits > 0, logits / repetition, logits * repetition), logits)
        x -= frequency * count + jnp.where(count > 0, presence, 0.0)
        x = x.at[jnp.arange(x.shape[0])[:, None], own.bias_ids].add(own.bias, mode="drop")
        too_early = ((own.history & ENDS) > 0) & (position < own.min_length)[:, None]
        x = jnp.where(asks[:, None], jnp.where(too_early, -jnp.inf, x), logits)
        return jnp.where(masks.wanted[:, None] & ~_allowed(masks.bits, x.shape[1]), -jnp.inf, x)

    return lax.cond((asks | masks.wanted).any(), adjusted, lambda: logits)


def _allowed(bits: jax.Array, vocab_size: int) -> jax.Array:
    """bool[R, V] of uint32[R, ceil(V / 32)]."""
    each = (bits[:, :, None] >> jnp.arange(32, dtype=jnp.uint32)) & 1
    return each.reshape(bits.shape[0], -1)[:, :vocab_size] > 0


def count_drawn(rules: LogitRules, slot: jax.Array, drawn: jax.Array) -> LogitRules:
    """Notes that slots int32[R] drew tokens int32[R]; slots outside the table are dropped. Touches R elements."""
    history = rules.history.at[slot, drawn].get(mode="clip")
    counted = history + ((history & MAX_COUNT) < MAX_COUNT).astype(jnp.uint16)
    return rules._replace(history=rules.history.at[slot, drawn].set(counted, mode="drop"))
