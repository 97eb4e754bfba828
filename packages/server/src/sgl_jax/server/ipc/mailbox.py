"""One request's deltas between the receiving task and the handler that consumes them."""

from __future__ import annotations

import asyncio

from sgl_jax.engine.errors import EngineDeadError
from sgl_jax.engine.messages import TokenDelta


class Mailbox:
    """Holds what has arrived and wakes its one reader at most once a step.

    A reader that lags gets everything that piled up as one delta, so it catches up at once. What can pile up is one
    delta with at most the request's own `max_new_tokens`.

    Attributes:
        every: the reader is woken by the first delta, then by every so many tokens, and by the last delta.
    """

    __slots__ = ("_delta", "_failure", "_has_begun", "_is_due", "_is_joined", "_waiter", "every")

    def __init__(self) -> None:
        self.every = 1
        self._delta: TokenDelta | None = None
        self._has_begun = False
        self._is_due = False
        self._is_joined = False  # whether its lists are ours to extend
        self._waiter: asyncio.Future[None] | None = None
        self._failure: str | None = None

    def put(self, delta: TokenDelta) -> None:
        """Adds a delta."""
        held = self._delta
        if held is None:
            self._delta = held = delta
        else:
            self._delta = held = _joined(held, delta, in_place=self._is_joined)
            self._is_joined = True
        if len(held.token_ids) >= self.every or held.finish is not None or not self._has_begun:
            self._has_begun = self._is_due = True
            self._wake()

    def fail(self, message: str) -> None:
        """Makes `take` raise once everything that arrived is taken."""
        self._failure = message
        self._is_due = self._delta is not None
        self._wake()

    async def take(self) -> TokenDelta:
        """Waits for the next delta. Raises `EngineDeadError` after `fail`."""
        while not self._is_due or self._delta is None:
            if self._failure is not None:
                raise EngineDeadError(self._failure)
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        delta, self._delta, self._is_due, self._is_joined = self._delta, None, False, False
        return delta

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _joined(first: TokenDelta, second: TokenDelta, *, in_place: bool) -> TokenDelta:
    """Two consecutive deltas of one request as one that says the same; `in_place` lengthens the first one's lists."""
    token_ids, logprobs = first.token_ids, first.logprobs
    if not in_place:
        token_ids, logprobs = token_ids.copy(), logprobs.copy()
    token_ids += second.token_ids
    logprobs += second.logprobs
    return TokenDelta(
        token_ids,
        second.finish,
        max(first.cached_tokens, second.cached_tokens),
        logprobs,
        max(first.queue_seconds, second.queue_seconds),
        first.prompt_logprobs or second.prompt_logprobs,  # all of them come with one delta
        first.embedding or second.embedding,
    )
