"""How much one program of a kernel takes on, by arithmetic alone: nothing here was tuned on a GPU yet.

Triton wants powers of two, and at least 16 on each side of a matrix product.
"""

from __future__ import annotations

from typing import NamedTuple

_LEAST = 16
_SHARED_BYTES = 160 * 1024
"""What a program may take of a multiprocessor's 227 KiB; Triton needs more than is counted here."""
_MULTIPROCESSORS = 132
_MOST_SPLITS = 32


class Piece(NamedTuple):
    """Part of a head's dimensions: `size` of them from `first` on, of which `live` exist."""

    first: int
    size: int
    live: int


class Heads(NamedTuple):
    """What a kernel is for.

    Attributes:
        head_dim: dimensions of a head.
        group: query heads a key head.
        kv_heads: key heads.
        stored_bytes: of an element in the pool.
        product_bytes: of an element in a product.
        pools: 1 where keys are the values too, else 2.
    """

    head_dim: int
    group: int
    kv_heads: int
    stored_bytes: int
    product_bytes: int
    pools: int


class Sizes(NamedTuple):
    """Static shape of a kernel.

    Attributes:
        units: lines of a tile, see `tiles`.
        keys: keys of a block.
        parts: programs that share the units of a tile, where a row has more than `units`.
        splits: programs that share the keys of a tile.
        warps, stages: Triton's parameters: warps a program, and blocks in flight.
    """

    units: int
    keys: int
    parts: int
    splits: int
    warps: int
    stages: int


def pieces(head_dim: int) -> tuple[Piece, ...]:
    """Cuts a head into powers of two: 80 is 64 + 16, a latent of 576 is 512 + 64.

    Padding to one power of two instead would multiply 128 dimensions for 80, and 1,024 for 576.
    """
    cut: list[Piece] = []
    first, left = 0, head_dim
    while left > 0:
        size = max(1 << (left.bit_length() - 1), _LEAST)
        cut.append(Piece(first, size, min(size, left)))
        first, left = first + size, left - size
    return tuple(cut)


def chunk_sizes(heads: Heads, num_tokens: int) -> Sizes:
    """For rows of several tokens, of `num_tokens` together; the products are what costs, so tiles are tall."""
    vector = heads.head_dim * heads.product_bytes
    units = min(128 if vector <= 256 else _tallest(heads), max(_LEAST, _power_of_two(num_tokens * heads.group)))
    return Sizes(units, _keys(heads, units), 1, 1, _warps(heads, units), stages=3)


def decode_sizes(heads: Heads, lines: int) -> Sizes:
    """For as many rows of one token; the keys and values are what costs, and programs share those of a row."""
    units = min(_tallest(heads), max(_LEAST, _power_of_two(heads.group)))
    parts = -(-heads.group // units)
    tiles = lines * heads.kv_heads * parts
    keys = _keys(heads, units)
    # As many programs as run at once. Each beyond these costs the writing and reading of one more share.
    at_once = _MULTIPROCESSORS * min(4, max(1, _SHARED_BYTES // _shared_bytes(heads, units, keys)))
    splits = min(_MOST_SPLITS, 1 << (max(at_once // tiles, 1).bit_length() - 1))
    return Sizes(units, keys, parts, splits, _warps(heads, units), stages=3)


def _tallest(heads: Heads) -> int:
    """Units whose answers, of float32, fit into registers beside what Triton needs to widen elements."""
    if heads.head_dim <= 256:
        return 64 if heads.product_bytes == 2 or heads.head_dim <= 128 else 32
    return 64 if heads.stored_bytes == 2 else 32 if heads.stored_bytes == 1 else 16


def _keys(heads: Heads, units: int) -> int:
    keys = 64 if heads.product_bytes == 2 else 32
    while keys > _LEAST and _shared_bytes(heads, units, keys) > _SHARED_BYTES:
        keys //= 2
    return keys


def _shared_bytes(heads: Heads, units: int, keys: int) -> int:
    """Queries, and keys and values twice: one block arrives while another is at work."""
    width = sum(piece.size for piece in pieces(heads.head_dim))
    return (units + 2 * heads.pools * keys) * width * heads.product_bytes


def _warps(heads: Heads, units: int) -> int:
    """So that a thread's part of the answer fits into its registers."""
    return 8 if units * heads.head_dim >= 128 * 64 else 4


def _power_of_two(number: int) -> int:
    """The smallest one that is not less."""
    return 1 << (number - 1).bit_length()
