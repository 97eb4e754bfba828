from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from sgl_jax.bench.mock.behaviour import MockBehaviour
from sgl_jax.bench.mock.server import MockServer

StartMock = Callable[[MockBehaviour], MockServer]


@contextmanager
def running(behaviour: MockBehaviour) -> Iterator[MockServer]:
    """Serve from a thread of its own, so that the command line can own this one's event loop."""
    started: list[MockServer] = []
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    ready = threading.Event()

    async def serve() -> None:
        async with MockServer(behaviour) as server:
            stop = asyncio.Event()
            loops.append((asyncio.get_running_loop(), stop))
            started.append(server)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(60)
    try:
        yield started[0]
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)


@pytest.fixture
def start_mock() -> Iterator[StartMock]:
    """Start mock servers that stop when the test ends."""
    with ExitStack() as stack:
        yield lambda behaviour: stack.enter_context(running(behaviour))
