"""One request's deltas between the receiving task and the handler that consumes them."""

from __future__ import annotations

import asyncio

from sgl_jax.engine.errors import EngineDeadError
from sgl_jax.engine.messages import TokenDelta


class Mailbox:
    """Holds what has arrived and wakes its one reader at most once a step.

    A reader that lags gets everything that piled up as one delta, so it catches up at once. What can
    pile up is bounded by the request's own `max_new_tokens`.
    """

    __slots__ = ("_deltas", "_failure", "_waiter")

    def __init__(self) -> None:
        self._deltas: list[TokenDelta] = []
        self._waiter: asyncio.Future[None] | None = None
        self._failure: str | None = None

    def put(self, delta: TokenDelta) -> None:
        """Adds a delta."""
        self._deltas.append(delta)
        self._wake()

    def fail(self, message: str) -> None:
        """Makes `take` raise once everything that arrived is taken."""
        self._failure = message
        self._wake()

    async def take(self) -> TokenDelta:
        """Waits for the next delta. Raises `EngineDeadError` after `fail`."""
        while not self._deltas:
            if self._failure is not None:
                raise EngineDeadError(self._failure)
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        deltas, self._deltas = self._deltas, []
        return deltas[0] if len(deltas) == 1 else merge(deltas)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def merge(deltas: list[TokenDelta]) -> TokenDelta:
    """Joins consecutive deltas of one request (at least one) into one that says the same."""
    return TokenDelta(
        token_ids=[token_id for delta in deltas for token_id in delta.token_ids],
        finish=deltas[-1].finish,
        cached_tokens=max(delta.cached_tokens for delta in deltas),
        logprobs=[entry for delta in deltas for entry in delta.logprobs],
    )
