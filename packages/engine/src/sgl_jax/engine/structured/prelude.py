"""What a sequence says before its grammar begins: its reasoning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from llguidance import LLTokenizer

from sgl_jax.engine.structured.mask import MaskRow, allow, mask_words


class Prelude:
    """Follows a sequence to the place where its grammar begins.

    Args:
        vocabulary: the model's.
        after: bytes behind which the grammar begins.
        openings: token sequences with one of which an answer begins if it has a prelude; empty if it has one anyway.
        inside: the tokens allowed in the prelude; None for all.
    """

    def __init__(
        self, vocabulary: LLTokenizer, after: bytes, openings: Sequence[Sequence[int]], inside: MaskRow | None
    ) -> None:
        self._vocabulary = vocabulary
        self._after = after
        self._openings = [list(opening) for opening in openings]
        self._inside = inside
        self._tail = b""

    @property
    def undecided(self) -> bool:
        """Whether the next token shows if there is a prelude at all."""
        return bool(self._openings) and not self._tail

    def begins(self, token: int) -> bool:
        """Whether this token, while that is undecided, begins a prelude."""
        return any(opening[0] == token for opening in self._openings)

    def allowed(self, by_grammar: MaskRow | None) -> MaskRow | None:
        """The tokens that may come next; None for all.

        Args:
            by_grammar: a row to be had of those that the grammar allows, while it is undecided.
        """
        if not self._openings:
            return self._inside
        row = np.zeros(mask_words(self._vocabulary.vocab_size), np.uint32) if by_grammar is None else by_grammar
        allow(row, (opening[0] for opening in self._openings))
        return row

    def accept(self, token: int) -> bytes | None:
        """Takes a token of the prelude. Returns what it holds of the answer behind, if it ends the prelude."""
        following = [opening[1:] for opening in self._openings if opening[0] == token]
        self._openings = [] if [] in following else following
        self._tail += self._vocabulary.decode_bytes([token])
        place = self._tail.find(self._after)
        if place >= 0:
            return self._tail[place + len(self._after) :]
        self._tail = self._tail[-len(self._after) :]
        return None
