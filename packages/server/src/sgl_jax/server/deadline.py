"""How long one request may take to compute."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sgl_jax.server.errors import ApiError


class Deadline:
    """Does something once if nobody stops it in time. One timer, whatever happens meanwhile.

    Args:
        seconds: from `start` on; None is for ever.
        act: what to do then.

    Attributes:
        passed: whether it was done.
    """

    def __init__(self, seconds: float | None, act: Callable[[], Awaitable[None]]) -> None:
        self.seconds = seconds
        self.passed = False
        self._act = act
        self._timer: asyncio.TimerHandle | None = None
        self._acting: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Starts the clock."""
        if self.seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(self.seconds, self._pass)

    def stop(self) -> None:
        """Stops it; idempotent."""
        if self._timer is not None:
            self._timer.cancel()

    def _pass(self) -> None:
        self.passed = True
        self._acting = asyncio.ensure_future(self._act())


def took_too_long(deadline: Deadline) -> ApiError:
    """The answer to a request that was ended by its deadline."""
    message = (
        f"The request took longer than {deadline.seconds:g} seconds (--max-request-seconds); ask for fewer tokens "
        "with max_tokens."
    )
    return ApiError(408, message, type="timeout_error", code="request_timeout")
