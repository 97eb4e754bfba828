"""Which experts each token asks, and how much it heeds them.

Axis letters: T tokens, E experts, K experts that a token asks.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax


class Routes(NamedTuple):
    """The experts of each token.

    Attributes:
        expert: int32[T, K], distinct for a token.
        weight: float32[T, K], what the expert's answer is multiplied by.
    """

    expert: jax.Array
    weight: jax.Array


class Router(nnx.Module):
    """Scores of experts: one product, in float32 whatever the weights are, since a small error changes the expert.

    Args:
        hidden_size, num_experts: sizes; the weight is [E, hidden].
        dtype: type of the weight.
        bias: whether there is a bias[E].
    """

    def __init__(self, hidden_size: int, num_experts: int, *, dtype: jnp.dtype, bias: bool = False) -> None:
        self.weight = nnx.Param(jnp.zeros((num_experts, hidden_size), dtype))
        self.bias = nnx.Param(jnp.zeros((num_experts,), dtype)) if bias else None

    def __call__(self, x: jax.Array) -> jax.Array:
        """float[T, hidden] -> float32[T, E]."""
        weight = self.weight[...].astype(jnp.float32)
        scores = jnp.einsum("th,eh->te", x.astype(jnp.float32), weight, precision=lax.Precision.HIGHEST)
        return scores if self.bias is None else scores + self.bias[...].astype(jnp.float32)


def softmax_then_top(scores_te: jax.Array, count: int, *, normalize: bool) -> Routes:
    """The likeliest experts by the softmax over all of them.

    Args:
        scores_te: float32[T, E].
        count: K.
        normalize: make a token's weights add up to one.
    """
    weight, expert = lax.top_k(jax.nn.softmax(scores_te, axis=-1), count)
    if normalize:
        weight = weight / weight.sum(-1, keepdims=True)
    return Routes(expert, weight)


def top_then_softmax(scores_te: jax.Array, count: int) -> Routes:
    """The highest scores, and the softmax over these alone."""
    score, expert = lax.top_k(scores_te, count)
    return Routes(expert, jax.nn.softmax(score, axis=-1))


def sigmoid_in_groups(
    scores_te: jax.Array,
    correction: jax.Array,
    count: int,
    *,
    groups: int,
    kept_groups: int,
    normalize: bool,
    scale: float,
) -> Routes:
    """Experts of the best groups, weighed by the sigmoid of their own scores (DeepSeek-V3, 2024, section 2.1.2).

    Args:
        scores_te: float32[T, E].
        correction: float[E], added to choose, but not to weigh: it keeps the experts' loads even.
        count: K.
        groups: the experts come in so many groups of one size; a group is as good as its two best experts together.
        kept_groups: groups that a token chooses from.
        normalize: make a token's weights add up to one, before `scale`.
        scale: multiplies all weights.
    """
    gate = jax.nn.sigmoid(scores_te)
    merit = gate + correction.astype(jnp.float32)
    by_group = merit.reshape(merit.shape[0], groups, -1)
    group_merit = lax.top_k(by_group, min(2, by_group.shape[-1]))[0].sum(-1)
    _, kept = lax.top_k(group_merit, kept_groups)
    open_group = (kept[:, :, None] == jnp.arange(groups)).any(1)
    merit = jnp.where(open_group[:, :, None], by_group, -jnp.inf).reshape(merit.shape)
    _, expert = lax.top_k(merit, count)
    weight = jnp.take_along_axis(gate, expert, axis=1)
    if normalize:
        weight = weight / (weight.sum(-1, keepdims=True) + 1e-20)
    return Routes(expert, weight * scale)
