"""How late the tester itself is: a busy event loop inflates every latency it reports, so the loop is timed too."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Self

from sgl_jax.bench.record import Clock

_INTERVAL = 0.02


class LagProbe:
    """An async context manager that samples how much later than asked the event loop wakes a sleeper.

    Attributes:
        samples: seconds of lateness, one for about every 20 ms.
    """

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self.samples: list[float] = []

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._sample())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _sample(self) -> None:
        while True:
            expected = self._clock() + _INTERVAL
            await asyncio.sleep(_INTERVAL)
            self.samples.append(max(self._clock() - expected, 0.0))
