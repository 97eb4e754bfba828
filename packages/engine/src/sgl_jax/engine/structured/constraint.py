"""One sequence's way through its grammar."""

from __future__ import annotations

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from sgl_jax.engine.structured.mask import MaskRow, mask_words
from sgl_jax.engine.structured.prelude import Prelude


class GrammarFailedError(Exception):
    """A grammar turned out too complex to go on with, or was left by the sequence."""


class Constraint:
    """Which tokens may come next.

    Args:
        matcher: at the start of its grammar; this object's own.
        vocabulary: the matcher's.
        prelude: what comes before the grammar; None for nothing.
    """

    def __init__(self, matcher: LLMatcher, vocabulary: LLTokenizer, prelude: Prelude | None = None) -> None:
        self._matcher = matcher
        self._vocabulary = vocabulary
        self._prelude = prelude

    @property
    def finished(self) -> bool:
        """Whether the text is complete and nothing can follow it."""
        return self._prelude is None and self._matcher.is_stopped()

    def allowed(self) -> MaskRow | None:
        """The tokens that may come next; None for all.

        Raises:
            GrammarFailedError: the next set is too expensive to compute.
        """
        prelude = self._prelude
        if prelude is None:
            return self._by_grammar()
        return prelude.allowed(self._by_grammar() if prelude.undecided else None)

    def accept(self, token: int) -> None:
        """Takes a drawn token that does not end the sequence.

        Raises:
            GrammarFailedError: the token was not allowed, or the grammar got too complex.
        """
        prelude = self._prelude
        if prelude is None or (prelude.undecided and not prelude.begins(token)):
            self._prelude = None
            self._consume(token)
        elif (begun := prelude.accept(token)) is not None:
            self._prelude = None
            for piece in self._vocabulary.tokenize_bytes(begun):
                self._consume(piece)

    def forced(self) -> list[int]:
        """Takes the tokens that must come next, whatever the model would say; returns them."""
        if self._prelude is not None or self._matcher.is_stopped():
            return []
        tokens: list[int] = self._matcher.compute_ff_tokens()
        if tokens and not self._matcher.consume_tokens(tokens):
            self._check()
        return tokens

    def _by_grammar(self) -> MaskRow:
        row = np.zeros(mask_words(self._vocabulary.vocab_size), np.uint32)
        self._matcher.unsafe_compute_mask_ptr(row.ctypes.data, row.nbytes)
        self._check()
        return row

    def _consume(self, token: int) -> None:
        if not self._matcher.consume_token(token):
            self._check()
            raise GrammarFailedError("The sequence left its grammar.")

    def _check(self) -> None:
        if self._matcher.is_error():
            raise GrammarFailedError(self._matcher.get_error().split("\n", 1)[0])
