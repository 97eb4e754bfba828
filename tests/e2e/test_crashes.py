"""The engine is killed under load, again and again: everybody is told, it comes back, and nothing piles up."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sgl_jax.engine.config.default_model import find_default_model
from tests.e2e.server_process import PATIENCE, ServerProcess, wait_until

pytestmark = [pytest.mark.model, pytest.mark.slow]

ROUNDS = 20
STREAMS, COLLECTED = 8, 8
FAKE = ("--device=fake", "--max-seq-len=1000000", "--max-total-tokens=8000000")
"""No computing, and room for answers that end after everything else."""
ENDLESS: dict[str, Any] = {"prompt": "Once", "max_tokens": 400_000, "ignore_eos": True}


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The servers' folder for temporary files, with a path that is short enough for sockets."""
    made = Path(tempfile.mkdtemp(prefix="drill-", dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(made))
    yield made
    shutil.rmtree(made)


async def stream(http: httpx.AsyncClient) -> tuple[int, Any]:
    """Status and last event of an endless stream."""
    last = ""
    async with http.stream("POST", "/v1/completions", json={**ENDLESS, "stream": True}) as response:
        async for line in response.aiter_lines():
            last = line or last
    return response.status_code, json.loads(last.removeprefix("data: "))


async def collect(http: httpx.AsyncClient) -> tuple[int, Any]:
    """Status and body of an endless request."""
    response = await http.post("/v1/completions", json=ENDLESS)
    return response.status_code, response.json()


async def until(condition: Callable[[], Any]) -> None:
    while not await condition():
        await asyncio.sleep(0.01)


async def kill_under_load(http: httpx.AsyncClient, server: ServerProcess) -> list[tuple[int, Any]]:
    """What all requests got that ran when the engine was killed."""

    async def all_run() -> bool:
        stats = (await http.get("/get_server_info")).json()["stats"]
        running: int = stats["running"]
        return running == STREAMS + COLLECTED

    work = [asyncio.create_task(stream(http)) for _ in range(STREAMS)]
    work += [asyncio.create_task(collect(http)) for _ in range(COLLECTED)]
    await until(all_run)
    os.kill(server.engine_pid, signal.SIGKILL)
    return await asyncio.gather(*work)


def in_use(server: ServerProcess, folder: Path) -> dict[str, int]:
    """What a leak would make grow."""
    process = Path(f"/proc/{server.pid}")
    return {
        "processes": len(server.survivors()),
        "files": len(list((process / "fd").iterdir())),
        "threads": len(list((process / "task").iterdir())),
        "entries": len(list(folder.rglob("*"))),
    }


def test_twenty_deaths_under_load(start: Callable[..., ServerProcess], folder: Path) -> None:
    server = start(*FAKE)

    async def one_round() -> None:
        async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE) as http:
            ends = await kill_under_load(http, server)
            assert (await http.get("/readyz")).status_code == 503
            for status, answer in ends[:STREAMS]:
                assert status == 200
                assert "SIGKILL" in answer["error"]["message"]
            for status, answer in ends[STREAMS:]:
                assert status == 503
                assert "SIGKILL" in answer["error"]["message"]

            async def ready() -> bool:
                return (await http.get("/readyz")).status_code == 200

            await until(ready)
            answer = await http.post("/v1/completions", json={"prompt": "Once", "max_tokens": 3, "ignore_eos": True})
            assert answer.json()["usage"]["completion_tokens"] == 3
            assert (await http.post("/abort_request", json={"abort_all": True})).json()["aborted"] == 0
            assert (await http.get("/get_server_info")).json()["stats"]["running"] == 0

    async def rounds(count: int) -> None:
        async with asyncio.timeout(count * PATIENCE):
            for _ in range(count):
                await one_round()

    before = in_use(server, folder)
    asyncio.run(rounds(ROUNDS))
    # The last connections may still be closing, and a pool may have got its last thread; what leaks stays, and is more.
    before["threads"] += ROUNDS // 2
    wait_until(lambda: all(in_use(server, folder)[name] <= before[name] for name in before), f"no more than {before}")
    assert before["processes"] == 2
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert list(folder.iterdir()) == []
    assert "Traceback" not in server.log


def test_an_engine_that_cannot_come_back_ends_the_server(
    start: Callable[..., ServerProcess], folder: Path, tmp_path: Path
) -> None:
    default_model = find_default_model()
    assert default_model is not None
    model = tmp_path / default_model.name
    model.symlink_to(default_model)
    server = start(*FAKE, f"--model-path={model}", "--max-restarts=2")
    model.unlink()
    os.kill(server.engine_pid, signal.SIGKILL)
    assert server.wait() == 1
    assert server.log.count("Starting it again") == 2
    assert str(model) in server.log.splitlines()[-1]
    assert server.survivors() == []
    assert list(folder.iterdir()) == []
    assert "Traceback" not in server.log
