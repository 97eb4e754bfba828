"""How a server ends, on purpose and by accident: nothing stays behind, and everybody who waits is told."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

import httpx
import pytest

from sgl_jax.client import AsyncSglJax, ServiceUnavailableError
from sgl_jax.server.config import ServerConfig
from sgl_jax.server.ipc.process import STOP_SECONDS
from tests.e2e.server_process import ServerProcess

pytestmark = pytest.mark.model

Start = Callable[..., ServerProcess]

STREAMS = 8


async def with_streams(server: ServerProcess, act: Callable[[], Awaitable[None]]) -> list[str | BaseException]:
    """Acts while `STREAMS` endless streams run; returns what became of each."""
    begun = asyncio.Barrier(STREAMS + 1)

    async def listen(client: AsyncSglJax) -> str:
        async with client.completions.create(
            prompt="Once upon a time", max_tokens=1000, ignore_eos=True, stream=True
        ) as stream:
            await anext(stream)
            await begun.wait()
            return (await stream.get_final_response()).text

    async with AsyncSglJax(server.url) as client:
        listening = [asyncio.create_task(listen(client)) for _ in range(STREAMS)]
        await begun.wait()
        await act()
        return await asyncio.gather(*listening, return_exceptions=True)


def test_sigterm_ends_both_processes_and_tells_all_who_wait(start: Start) -> None:
    server = start("--drain-seconds=1")
    assert server.engine_pid in server.survivors()

    async def stop() -> None:
        server.signal(signal.SIGTERM)

    for end in asyncio.run(with_streams(server, stop)):  # they would run for minutes
        assert isinstance(end, ServiceUnavailableError)
        assert "shutting down" in str(end)
    assert server.wait() == 0
    assert server.survivors() == []
    assert "Traceback" not in server.log
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)


def test_what_a_stop_may_take_is_below_5_seconds() -> None:
    """The waits of which it consists, by default; a clock would measure the machine's load."""
    assert ServerConfig(served_model_name="any").drain_seconds + STOP_SECONDS < 5


def test_a_killed_engine_is_told_to_all_who_wait_and_need_not_end_the_server(start: Start) -> None:
    server = start("--on-engine-death=stay")

    async def kill() -> None:
        os.kill(server.engine_pid, signal.SIGKILL)

    for end in asyncio.run(with_streams(server, kill)):
        assert isinstance(end, ServiceUnavailableError)
        assert "SIGKILL" in str(end)
    health = httpx.get(f"{server.url}/health")
    assert (health.status_code, health.json()["status"]) == (503, "dead")
    refused = httpx.post(f"{server.url}/generate", json={"text": "Hello"})
    assert refused.status_code == 503
    assert "SIGKILL" in refused.json()["error"]["message"]
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert server.survivors() == []
    assert "Traceback" not in server.log
