"""`GET /metrics`."""

from __future__ import annotations

import asyncio
import contextlib
import time

from fastapi import APIRouter, Request, Response

from sgl_jax.engine.errors import EngineDeadError
from sgl_jax.engine.stats import EngineStats
from sgl_jax.server.context import ServerContext
from sgl_jax.server.metrics.catalog import Snapshot
from sgl_jax.server.metrics.exposition import Exposition

ENGINE_SECONDS = 1.0
"""How long the engine may take to answer; then its values of last time are shown."""


def metrics_router(context: ServerContext) -> APIRouter:
    """The route, bound to a server's parts."""
    router = APIRouter(tags=["info"])
    exposition = Exposition(context.served_model_name)
    watch = _EngineWatch(context)

    @router.get(
        "/metrics",
        operation_id="metrics",
        summary="Counters and gauges for Prometheus",
        response_model=None,
        responses={200: {"description": "Success", "content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics(request: Request) -> Response:
        content, content_type = exposition.render(await watch.snapshot(), request.headers.get("accept", ""))
        return Response(content, headers={"Content-Type": content_type})

    return router


class _EngineWatch:
    """Asks the engine for its numbers, and knows those of last time."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._stats: EngineStats | None = None
        self._asked_at = time.monotonic()

    async def snapshot(self) -> Snapshot:
        context, before, asked_at = self._context, self._stats, self._asked_at
        info = None
        # In the middle of a long step it does not answer in time: what it said last is better than nothing.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENGINE_SECONDS):
                self._stats = await _stats(context)
        self._asked_at = time.monotonic()
        with contextlib.suppress(EngineDeadError):
            info = context.engine.info()
        return Snapshot(
            counters=context.counters,
            stats=self._stats,
            info=info,
            ready=info is not None and context.phase().name == "ready",
            restarts=context.restarts(),
            tokens_per_second=_rate(before, self._stats, self._asked_at - asked_at),
        )


async def _stats(context: ServerContext) -> EngineStats | None:
    try:
        return (await context.engine.control("stats")).stats
    except EngineDeadError:
        return None


def _rate(before: EngineStats | None, after: EngineStats | None, seconds: float) -> float:
    if before is None or after is None or seconds <= 0:
        return 0.0
    # Not below zero, when the engine was restarted in between.
    return max(0, after.generated_tokens_total - before.generated_tokens_total) / seconds
