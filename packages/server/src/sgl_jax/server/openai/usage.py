"""Counting tokens."""

from __future__ import annotations

from collections.abc import Iterable

from sgl_jax.server.generation import Job, Piece, Sequence
from sgl_jax.server.openai.schema.common import PromptTokensDetails, Usage


class UsageCounter:
    """Adds up the pieces of a job while they go by.

    Only the first sibling of a prompt says what the prefix cache saved: the prompt counts once.
    """

    def __init__(self, job: Job) -> None:
        self._prompt_tokens = job.prompt_tokens
        self._n = job.n
        self._completion_tokens = 0
        self._cached_tokens = 0

    @classmethod
    def of(cls, job: Job, sequences: Iterable[Sequence]) -> UsageCounter:
        """The counts of a finished job."""
        counter = cls(job)
        for index, sequence in enumerate(sequences):
            counter._add(index, len(sequence.token_ids), sequence.cached_tokens)
        return counter

    def add(self, piece: Piece) -> None:
        """Counts one piece."""
        self._add(piece.index, len(piece.token_ids), piece.cached_tokens)

    def usage(self) -> Usage:
        """The counts so far."""
        return Usage(
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            total_tokens=self._prompt_tokens + self._completion_tokens,
            prompt_tokens_details=PromptTokensDetails(self._cached_tokens),
        )

    def _add(self, index: int, tokens: int, cached_tokens: int) -> None:
        self._completion_tokens += tokens
        if index % self._n == 0:
            self._cached_tokens += cached_tokens
