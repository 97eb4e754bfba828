"""Many clients at once, and clients that do not read: nobody is kept waiting by somebody else."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.server_process import PATIENCE, ServerProcess, wait_until

pytestmark = pytest.mark.model

FAKE = ("--device=fake", "--max-running-requests=256", "--max-seq-len=1000000", "--max-total-tokens=4000000")
ENDLESS = 900_000


@pytest.fixture(scope="module")
def fake(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that makes up tokens as fast as it can, and bears no client that reads nothing for a second."""
    log = tmp_path_factory.mktemp("fake") / "log"
    server = ServerProcess(log, *FAKE, "--max-stall-seconds=1", environ=environ)
    server.wait_ready()
    yield server
    server.close()


def running(server: ServerProcess) -> int:
    count: int = httpx.get(f"{server.url}/get_server_info", timeout=PATIENCE).json()["stats"]["running"]
    return count


def memory(server: ServerProcess) -> int:
    """Bytes that the web process holds."""
    return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * 4096


@contextmanager
def deaf_client(server: ServerProcess, path: str, **body: Any) -> Iterator[socket.socket]:
    """A client that asks for an endless stream and reads nothing of it."""
    payload = json.dumps({**body, "stream": True}).encode()
    url = httpx.URL(server.url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((url.host, url.port or 0))
        head = f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {len(payload)}"
        connection.sendall(f"{head}\r\n\r\n".encode() + payload)
        yield connection


def test_256_streams_are_all_complete(fake: ServerProcess) -> None:
    async def ask(http: httpx.AsyncClient) -> int:
        body = {"prompt": "Once", "max_tokens": 20, "ignore_eos": True, "stream": True}
        answer = await http.post("/v1/completions", json={**body, "stream_options": {"include_usage": True}})
        events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
        assert events[-1] == "[DONE]"
        tokens: int = json.loads(events[-2])["usage"]["completion_tokens"]
        return tokens

    async def all_at_once() -> list[int]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=fake.url, timeout=PATIENCE, limits=limits) as http:
            return await asyncio.gather(*(ask(http) for _ in range(256)))

    assert asyncio.run(all_at_once()) == [20] * 256


def test_clients_that_read_nothing_cost_little_and_are_cut_off(fake: ServerProcess) -> None:
    before = memory(fake)
    with (
        # Each event has the whole text so far: what lies between the two is soon full.
        deaf_client(fake, "/generate", text="Once", sampling_params={"max_new_tokens": ENDLESS, "ignore_eos": True}),
        deaf_client(fake, "/v1/completions", prompt="Once", max_tokens=ENDLESS // 4, ignore_eos=True, n=4),
    ):
        wait_until(lambda: running(fake) == 5, "all sequences are running")
        # Others are served meanwhile.
        assert httpx.post(f"{fake.url}/v1/completions", json={"prompt": "Once"}, timeout=PATIENCE).status_code == 200
        wait_until(lambda: running(fake) == 0, "their slots are free")
        assert fake.log.count("it read nothing, with") == 2
        assert memory(fake) - before < 100_000_000
    assert "Traceback" not in fake.log


def test_a_client_that_reads_slowly_gets_everything(fake: ServerProcess) -> None:
    tokens = 30_000
    with deaf_client(fake, "/generate", text="Once", incremental=True, sampling_params={
        "max_new_tokens": tokens, "ignore_eos": True, "skip_special_tokens": False,
    }) as connection:  # fmt: skip
        wait_until(lambda: running(fake) == 1, "it has begun")
        received = b""
        connection.settimeout(PATIENCE)
        while b"[DONE]" not in received[-100:]:
            received += connection.recv(2048)
    events = [json.loads(line[6:]) for line in received.splitlines() if line.startswith(b"data: {")]
    assert sum(len(event["output_ids"]) for event in events) == tokens
    # What piled up came together.
    assert len(events) < tokens / 2
