"""From pieces of text to what they say: the events that every chat-like route writes down in its own shape."""

from __future__ import annotations

from sgl_jax.server.generation import Job, Piece
from sgl_jax.server.parsing.events import Event


class AnswerReader:
    """Reads the answers of one job while they come, each with a parser of its own."""

    def __init__(self, job: Job) -> None:
        self._parsers = [job.answer.new_parser() for _ in job.requests]

    def read(self, piece: Piece) -> list[Event]:
        """What a piece adds to its answer; the last one also brings what was held back."""
        parser = self._parsers[piece.index]
        events = parser.push(piece.text)
        return events if piece.finish is None else events + parser.finish()
