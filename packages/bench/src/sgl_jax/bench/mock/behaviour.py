"""How the mock behaves, as pure data and pure time arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Freeze:
    """A span in which the whole server stands still, like a long compilation or a garbage collection.

    Attributes:
        start: seconds after the first request arrived.
        duration: seconds.
    """

    start: float
    duration: float

    @property
    def end(self) -> float:
        """Seconds after the first request at which work goes on."""
        return self.start + self.duration


@dataclass(frozen=True, slots=True)
class MockBehaviour:
    """Everything that the mock does on purpose.

    Attributes:
        ttft: seconds from a request's arrival (or from its slot, see `slots`) to its first token.
        itl: seconds from each token to the next.
        tokens: tokens in every answer, however many were asked for; None means the request's `max_tokens`.
        in_step: tokens of all requests leave together, at multiples of `itl`, as from a server that batches.
        tokens_per_chunk: tokens that one SSE chunk carries; a chunk leaves when its last token is due.
        freezes: spans in which nothing is computed or sent.
        slots: how many requests are served at a time, the others wait in line; None means all.
        fail_every: every n-th request is answered with HTTP 500; 0 means none.
        drop_every: every n-th stream loses its connection after half of its tokens; 0 means none.
        usage: whether answers carry `usage`.
        stats: whether there are `/get_server_info` and `/metrics`.
        model: the served model's name.
    """

    ttft: float = 0.05
    itl: float = 0.01
    tokens: int | None = None
    in_step: bool = False
    tokens_per_chunk: int = 1
    freezes: tuple[Freeze, ...] = ()
    slots: int | None = None
    fail_every: int = 0
    drop_every: int = 0
    usage: bool = True
    stats: bool = True
    model: str = "mock"

    def chunk_sizes(self, max_tokens: int) -> list[int]:
        """Return the number of tokens in each chunk of an answer."""
        total = max_tokens if self.tokens is None else self.tokens
        full, rest = divmod(total, self.tokens_per_chunk)
        return [self.tokens_per_chunk] * full + ([rest] if rest else [])

    def due(self, start: float, token: int) -> float:
        """Return when the `token`-th token (from 1) of a request that got its slot at `start` is sent.

        Both are seconds after the first request arrived. Dues come from `start` alone, so a late wake-up of the
        event loop delays one token and is not handed on to the next.
        """
        moment = advance(start, self.ttft + (token - 1) * self.itl, self.freezes)
        if self.in_step and self.itl > 0:
            return math.ceil(moment / self.itl - 1e-9) * self.itl
        return moment


def advance(start: float, work: float, freezes: Sequence[Freeze]) -> float:
    """Return the moment at which `work` seconds of unfrozen time have passed since `start`."""
    now = start
    for freeze in sorted(freezes):
        if freeze.end <= now:
            continue
        free = max(freeze.start - now, 0.0)
        if work < free:
            break
        work -= free
        now = freeze.end
    return now + work
