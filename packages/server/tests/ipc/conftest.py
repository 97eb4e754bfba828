from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.server.ipc.client import ZmqEngineClient

STUB = (sys.executable, str(Path(__file__).with_name("stub_worker.py")))
PATIENCE = 60.0
"""Seconds after which a test is stuck; never what a test measures."""

Starter = Callable[..., AbstractAsyncContextManager[ZmqEngineClient]]


@asynccontextmanager
async def _started(mode: str = "ok", *, ready: bool = True, **options: Any) -> AsyncIterator[ZmqEngineClient]:
    client = await ZmqEngineClient.start(EngineConfig(model_path=mode, device="cpu"), command=STUB, **options)
    try:
        if ready:
            await client.wait_ready()
        yield client
    finally:
        await client.close()


@pytest.fixture
def started() -> Starter:
    """Starts a client with a stub worker in the given mode, and closes it at the end of the `with` block."""
    return _started


@pytest.fixture
def run() -> Callable[[Awaitable[None]], None]:
    """Runs a test's coroutine, for a bounded time."""

    def run_it(work: Awaitable[None]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(PATIENCE):
                await work

        asyncio.run(bounded())

    return run_it
