"""Where requests to experts go, when one kernel computes them all: blocks of rows, each of one expert.

There are as many blocks as the worst case needs, so that nothing about their number depends on the tokens: no loop, and
none of what would keep a step out of a CUDA graph.

Axis letters: as in `moe`, and M blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sgl_jax.engine.layers.grouped_sizes import most_blocks


class GroupedRows(NamedTuple):
    """Blocks of rows.

    Attributes:
        request: int32[M * B], the request in each row (token * K + which of its experts); arbitrary valid ones, where
            there is none.
        expert: int32[M], whose block it is; arbitrary valid ones from `live` on.
        live: int32[], blocks that there are.
        row: int32[N], where each request is; arbitrary valid ones for requests to nobody.
        size: B.
    """

    request: jax.Array
    expert: jax.Array
    live: jax.Array
    row: jax.Array
    size: int


def group(expert_tk: jax.Array, num_experts: int) -> GroupedRows:
    """Sorts int32[T, K] expert numbers into blocks; those from `num_experts` on are nobody's."""
    num_requests = expert_tk.size
    most, size = most_blocks(num_requests, num_experts)
    expert = expert_tk.reshape(-1)
    order = jnp.argsort(expert, stable=True).astype(jnp.int32)
    place = jnp.zeros_like(order).at[order].set(jnp.arange(num_requests, dtype=jnp.int32), unique_indices=True)
    per_expert = (expert[:, None] == jnp.arange(num_experts)).sum(0, dtype=jnp.int32)
    first = jnp.cumsum(per_expert) - per_expert
    blocks = -(-per_expert // size)
    last_block = jnp.cumsum(blocks)
    first_row = (last_block - blocks) * size
    # By comparing with all, for a search would be a loop.
    number = jnp.arange(most, dtype=jnp.int32)
    whose = (number[:, None] >= last_block).sum(1, dtype=jnp.int32)
    whose = jnp.minimum(whose, num_experts - 1)
    row = jnp.arange(most * size, dtype=jnp.int32)
    owner = jnp.repeat(whose, size)
    sorted_place = jnp.clip(row - first_row[owner] + first[owner], 0, num_requests - 1)
    own = jnp.minimum(expert, num_experts - 1)
    found = jnp.clip(place - first[own] + first_row[own], 0, most * size - 1)
    return GroupedRows(order[sorted_place], whose, last_block[-1], found, size)
