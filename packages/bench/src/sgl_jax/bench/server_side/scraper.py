"""Looks at the server's own numbers while a run goes on. Never a reason for a run to fail."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any, Self

from sgl_jax.bench.record import Clock
from sgl_jax.bench.server_side.prometheus import parse_metrics
from sgl_jax.bench.server_side.sample import ServerSample
from sgl_jax.bench.server_side.series import ServerSeries
from sgl_jax.bench.target.target import Target
from sgl_jax.bench.wire.connection import Reply
from sgl_jax.bench.wire.errors import WireError
from sgl_jax.bench.wire.json_body import json_body

_TIMEOUT = 5.0
_INFO, _METRICS = "/get_server_info", "/metrics"


class Scraper:
    """An async context manager that samples a server at its begin, every `interval` seconds, and at its end.

    A route that the server does not have is asked for once.

    Args:
        target: the server.
        interval: seconds from one sample to the next; 0 samples nothing.
        clock: the run's clock.

    Attributes:
        info: the first answer of `/get_server_info`, for the results file.
    """

    def __init__(self, target: Target, interval: float, clock: Clock = time.perf_counter) -> None:
        self.info: dict[str, Any] | None = None
        self._target = target
        self._interval = interval
        self._clock = clock
        self._paths = {_INFO, _METRICS}
        self._samples: list[ServerSample] = []
        self._origin = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._origin = self._clock()
        await self._sample()
        if self._interval and self._paths:
            self._task = asyncio.create_task(self._keep_sampling())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            if kind is None:
                await self._sample()

    def series(self) -> ServerSeries:
        """Return what was sampled; nothing where the server has no numbers."""
        samples = self._samples if self._interval else ()
        return ServerSeries(tuple(sample for sample in samples if not sample.empty))

    async def _keep_sampling(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self._sample()

    async def _sample(self) -> None:
        moment = self._clock() - self._origin
        info_reply, metrics_reply = await asyncio.gather(self._get(_INFO), self._get(_METRICS))
        info = json_body(info_reply) if info_reply else None
        metrics = parse_metrics(metrics_reply.body.decode("utf-8", "replace")) if metrics_reply else None
        self.info = self.info or info
        self._samples.append(ServerSample.of(moment, info, metrics))

    async def _get(self, path: str) -> Reply | None:
        if path not in self._paths:
            return None
        try:
            reply = await self._target.get(path, _TIMEOUT)
        except (WireError, TimeoutError):  # a server under load may be slow to answer: ask again next time
            return None
        if not reply.ok:
            self._paths.discard(path)
            return None
        return reply
