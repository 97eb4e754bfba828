"""Rows of bits that say which tokens may be drawn."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

MaskRow = npt.NDArray[np.uint32]
"""uint32[mask_words(V)]: bit `t % 32` of word `t // 32` says whether token `t` is allowed."""


def mask_words(vocab_size: int) -> int:
    """Length of a mask row."""
    return -(-vocab_size // 32)


def all_but(vocab_size: int, token_ids: Iterable[int]) -> MaskRow:
    """A row that allows every token of the vocabulary except these."""
    allowed = np.zeros(mask_words(vocab_size) * 32, np.uint8)
    allowed[:vocab_size] = 1
    allowed[list(token_ids)] = 0
    return np.packbits(allowed, bitorder="little").view(np.uint32)


def allows(row: MaskRow, token_id: int) -> bool:
    """Whether a row allows a token."""
    return bool(row[token_id // 32] >> np.uint32(token_id % 32) & np.uint32(1))


def allow(row: MaskRow, token_ids: Iterable[int]) -> None:
    """Allows tokens in a row that belongs to the caller."""
    for token_id in token_ids:
        row[token_id // 32] |= np.uint32(1) << np.uint32(token_id % 32)
