"""The mock in a thread of its own, for tests and programs that have no event loop to spare."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sgl_jax.bench.mock.behaviour import MockBehaviour
from sgl_jax.bench.mock.server import MockServer

_PATIENCE = 60.0


@contextmanager
def mock_server(behaviour: MockBehaviour | None = None) -> Iterator[MockServer]:
    """Run a mock server on a free port of 127.0.0.1 while the context lasts.

    with mock_server(MockBehaviour(ttft=0.2)) as server:
        ...  # server.url; server.log holds what was really sent and when

    Args:
        behaviour: timings and faults; the usual ones when None.

    Raises:
        RuntimeError: it did not start.
    """
    started: list[MockServer] = []
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    ready = threading.Event()

    async def serve() -> None:
        async with MockServer(behaviour or MockBehaviour()) as server:
            ended = asyncio.Event()
            stop.append((asyncio.get_running_loop(), ended))
            started.append(server)
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="mock-server", daemon=True)
    thread.start()
    if not ready.wait(_PATIENCE):
        raise RuntimeError("the mock server did not start")
    try:
        yield started[0]
    finally:
        loop, ended = stop[0]
        loop.call_soon_threadsafe(ended.set)
        thread.join(_PATIENCE)
