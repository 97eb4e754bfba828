"""How many blocks of rows requests to experts take, see `grouped_rows`. No jax here: memory is reckoned with it."""

from __future__ import annotations

MIN_BLOCK, MAX_BLOCK = 16, 128
"""Rows of a block: what tensor cores take at least, and what registers hold."""


def most_blocks(num_requests: int, num_experts: int) -> tuple[int, int]:
    """Blocks in the worst case, and the rows of each."""
    size = block_size(num_requests, num_experts)
    return min(num_requests, num_requests // size + min(num_experts, num_requests)), size


def block_size(num_requests: int, num_experts: int) -> int:
    """As many rows as an expert has requests on average, as a power of two."""
    size = MIN_BLOCK
    while size < min(num_requests // num_experts, MAX_BLOCK):
        size *= 2
    return size
