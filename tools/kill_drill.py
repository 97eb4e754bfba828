"""Kills the engine of a loaded server again and again, and looks at what is left: `uv run python -m tools.kill_drill`.

Each round fills the server with streams and plain requests, kills the engine process with SIGKILL, and holds the server
to its word: everybody who waits is told at once, `/readyz` says 503 and then 200, the next request is answered, and no
process, file, socket, thread, folder, piece of shared memory or page is left behind. At the end the same with
`--no-restart`, where the server must end. CI runs a few rounds (`tests/e2e/test_crashes.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.server_process import PATIENCE, ServerProcess, wait_until

FAKE = ("--device=fake", "--max-seq-len=1000000", "--max-total-tokens=8000000")
"""No computing, and room for answers that end after everything else."""
SHARED_MEMORY = Path("/dev/shm")
ENDLESS_TOKENS = {"fake": 400_000, "cpu": 900}


@dataclass(frozen=True, slots=True)
class Load:
    """What runs while the engine is killed.

    Attributes:
        streams, collected: how many streamed and how many plain requests.
        max_tokens: of each; enough to outlive the others' start.
    """

    streams: int
    collected: int
    max_tokens: int

    @property
    def total(self) -> int:
        """All requests."""
        return self.streams + self.collected


@dataclass(frozen=True, slots=True)
class Round:
    """One death: who was told, and how long it took.

    Attributes:
        told_streams, told_collected: requests that ended with an error which names the signal.
        told_ms: from the kill to the last of these.
        ready_s: from the kill to `/readyz` saying 200 again.
        answer_ms: how long the first request took after that.
    """

    told_streams: int
    told_collected: int
    told_ms: float
    ready_s: float
    answer_ms: float


@dataclass(frozen=True, slots=True)
class InUse:
    """What a leak would make grow.

    Attributes:
        processes: of the server, its own included.
        files, sockets, threads: open in the web process; sockets are files, too.
        entries: files and folders in its folder for temporary ones.
        shared_memory: entries under /dev/shm, whoever made them.
        pages: KV pages that are not free while nothing runs and the prefix cache is empty.
        megabytes: resident memory of the web process.
    """

    processes: int
    files: int
    sockets: int
    threads: int
    entries: int
    shared_memory: int
    pages: int
    megabytes: int


async def kill_under_load(http: httpx.AsyncClient, server: ServerProcess, load: Load) -> Round:
    """One round.

    Raises:
        AssertionError: the server did not keep its word.
    """

    async def stats() -> dict[str, int]:
        counters: dict[str, int] = (await http.get("/get_server_info")).json()["stats"]
        return counters

    async def all_run() -> bool:
        now = await stats()
        return now["running"] == load.total and now["generated_tokens_total"] - generated > 2 * load.total

    generated = (await stats())["generated_tokens_total"]
    body = {"prompt": "Once", "max_tokens": load.max_tokens, "ignore_eos": True}
    work = [asyncio.create_task(_stream(http, body)) for _ in range(load.streams)]
    work += [asyncio.create_task(_collect(http, body)) for _ in range(load.collected)]
    await _until(all_run)
    begin = time.perf_counter()
    os.kill(server.engine_pid, signal.SIGKILL)
    ends = await asyncio.gather(*work)
    told = time.perf_counter() - begin
    assert (await http.get("/readyz")).status_code == 503
    for expected, answers in ((200, ends[: load.streams]), (503, ends[load.streams :])):
        for status, answer in answers:
            assert status == expected, (status, answer)
            assert "SIGKILL" in answer["error"]["message"], answer

    async def ready() -> bool:
        return (await http.get("/readyz")).status_code == 200

    await _until(ready)
    came_back = time.perf_counter()
    answer = await http.post("/v1/completions", json={"prompt": "Once", "max_tokens": 3, "ignore_eos": True})
    answered = time.perf_counter()
    assert answer.json()["usage"]["completion_tokens"] == 3
    assert (await http.post("/abort_request", json={"abort_all": True})).json()["aborted"] == 0
    assert (await stats())["running"] == 0
    return Round(
        told_streams=load.streams,
        told_collected=load.collected,
        told_ms=round(1e3 * told, 1),
        ready_s=round(came_back - begin, 2),
        answer_ms=round(1e3 * (answered - came_back), 1),
    )


def drill(server: ServerProcess, load: Load, rounds: int) -> list[Round]:
    """So many deaths in a row. Raises as `kill_under_load`, and `TimeoutError` where something hangs."""

    async def run() -> list[Round]:
        done = []
        async with asyncio.timeout(rounds * PATIENCE):
            for _ in range(rounds):
                limits = httpx.Limits(max_connections=None)
                async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, limits=limits) as http:
                    done.append(await kill_under_load(http, server, load))
        return done

    return asyncio.run(run())


def in_use(server: ServerProcess, folder: Path) -> InUse:
    """What the idle server holds now; it forgets its cached prefixes for that."""
    process = Path(f"/proc/{server.pid}")
    targets = [_target(one) for one in (process / "fd").iterdir()]
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as http:
        http.post("/flush_cache")
        stats = http.get("/get_server_info").json()["stats"]
    (resident,) = (line for line in (process / "status").read_text().splitlines() if line.startswith("VmRSS"))
    return InUse(
        processes=len(server.survivors()),
        files=len(targets),
        sockets=sum(target.startswith("socket:") for target in targets),
        threads=len(list((process / "task").iterdir())),
        entries=len(list(folder.rglob("*"))),
        shared_memory=len(list(SHARED_MEMORY.iterdir())),
        pages=stats["pages_total"] - stats["pages_free"],
        megabytes=int(resident.split()[1]) // 1024,
    )


def wait_for_no_more(
    server: ServerProcess, folder: Path, before: InUse, *, threads: int = 0, alone: bool = True
) -> InUse:
    """What is in use once nothing but memory is above `before`: the last connections may still be closing.

    Args:
        threads: how many more there may be; a pool grows up to its size.
        alone: whether nobody else on this machine makes shared memory meanwhile.

    Raises:
        AssertionError: something stays.
    """
    allowed = {**asdict(before), "threads": before.threads + threads}
    del allowed["megabytes"]
    if not alone:
        del allowed["shared_memory"]
    wait_until(lambda: not above(in_use(server, folder), allowed), f"no more than {allowed}")
    return in_use(server, folder)


def above(now: InUse, allowed: dict[str, int]) -> dict[str, int]:
    """What there is more of than allowed."""
    return {name: getattr(now, name) for name, most in allowed.items() if getattr(now, name) > most}


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder for temporary files, with a path that is short enough for sockets."""
    made = Path(tempfile.mkdtemp(prefix="drill-", dir="/tmp"))
    yield made
    shutil.rmtree(made)


async def _stream(http: httpx.AsyncClient, body: dict[str, Any]) -> tuple[int, Any]:
    """Status and last event."""
    last = ""
    async with http.stream("POST", "/v1/completions", json={**body, "stream": True}) as response:
        async for line in response.aiter_lines():
            last = line or last
    return response.status_code, json.loads(last.removeprefix("data: "))


async def _collect(http: httpx.AsyncClient, body: dict[str, Any]) -> tuple[int, Any]:
    response = await http.post("/v1/completions", json=body)
    return response.status_code, response.json()


async def _until(condition: Any) -> None:
    while not await condition():
        await asyncio.sleep(0.01)


def _target(entry: Path) -> str:
    try:
        return os.readlink(entry)
    except OSError:  # closed in this moment
        return ""


def _without_restart(log: Path, flags: tuple[str, ...], folder: Path, environ: dict[str, str]) -> dict[str, object]:
    """Kills the engine of a server that must then end: how it ends, how fast, and what is left."""
    server = ServerProcess(log, *flags, "--no-restart", environ=environ)
    try:
        server.wait_ready()
        begin = time.perf_counter()
        os.kill(server.engine_pid, signal.SIGKILL)
        code = server.wait()
        seconds = time.perf_counter() - begin
        left = len(server.survivors()) + len(list(folder.iterdir()))
        return {"--no-restart": f"exit code {code}", "seconds": round(seconds, 2), "left behind": left}
    finally:
        server.close()


def _table(rows: list[dict[str, object]]) -> str:
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    return "\n".join(lines + ["| " + " | ".join(map(str, row.values())) + " |" for row in rows])


def _percentiles(rounds: list[Round]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for one in fields(Round):
        values = sorted(getattr(entry, one.name) for entry in rounds)
        rows.append({"": one.name, "least": values[0], "median": values[len(values) // 2], "most": values[-1]})
    return rows


def main() -> int:
    """Runs the drill and prints a report; the exit status says whether the server kept its word."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", choices=sorted(ENDLESS_TOKENS), default="cpu", help="fake: no model is computed")
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--collected", type=int, default=16)
    options = parser.parse_args()
    load = Load(options.streams, options.collected, ENDLESS_TOKENS[options.device])
    flags = (*(FAKE if options.device == "fake" else ()), "--skip-server-warmup")
    logs = Path(tempfile.mkdtemp(prefix="drill-logs-"))
    with short_folder() as folder:
        environ = {"TMPDIR": str(folder)}
        server = ServerProcess(logs / "log", *flags, environ=environ)
        try:
            server.wait_ready()
            drill(server, load, 1)  # connections, pools and caches get the size that they keep
            before = in_use(server, folder)
            rounds = drill(server, load, options.rounds)
            after = wait_for_no_more(server, folder, before, threads=options.rounds // 2)
            server.signal(signal.SIGTERM)
            code = server.wait()
        finally:
            server.close()
        said = Counter(line.split(" ", 1)[0] for line in server.log.splitlines() if line.startswith("Traceback"))
        left = len(list(folder.iterdir()))
        alone = _without_restart(logs / "alone", flags, folder, environ)
    print(f"# The kill -9 drill: {options.rounds} deaths in a row under {load.streams} streams")
    print(f"and {load.collected} plain requests, --device={options.device}\n")
    print(_table(_percentiles(rounds)), end="\n\n")
    print(_table([{"in use": "before", **asdict(before)}, {"in use": "after", **asdict(after)}]), end="\n\n")
    print(_table([{"SIGTERM at the end": f"exit code {code}", "left behind": left, "tracebacks": said.total()}]))
    print()
    print(_table([alone]))
    return bool(code or left or said or alone["left behind"])


if __name__ == "__main__":
    sys.exit(main())
