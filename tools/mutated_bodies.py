"""Sends mutated bodies to every route of a server: `uv run python -m tools.mutated_bodies --count 20000`.

Whatever comes, the answer must not be a 5xx, must come within two seconds, and must have the one error shape;
afterwards the server is healthy, runs nothing, and holds no more memory than before. The server is a real one, with an
engine process that computes nothing; `--url` takes another. CI sends fewer to the application in process
(`packages/server/tests/http/test_mutated_bodies.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.server_process import PATIENCE, ServerProcess
from tools.hostile_bodies import Body, BodyMaker

FLAGS = ("--device=fake", "--max-seq-len=256", "--tool-call-parser=hermes", "--skip-server-warmup")
HANG_SECONDS = 2.0
MOST_GROWTH_MB = 16
"""Of the web process in the second half of the bodies; a leak of a kilobyte for each of 10,000 would be 10."""
SAMPLES = 5


@dataclass(slots=True)
class Report:
    """What came of the bodies.

    Attributes:
        statuses: how often each status was the answer.
        wrong: bodies with answers that must not be.
        slowest: seconds of the slowest answer.
        slow: bodies whose answer took too long; each is sent once more, alone, and is wrong if it does so again. The
            first time, others on the machine may have held up server and sender.
        megabytes: resident memory of the web process at equal distances; empty for a server that is not ours.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[tuple[Body, str]] = field(default_factory=list)
    slowest: float = 0.0
    slow: list[Body] = field(default_factory=list)
    megabytes: list[int] = field(default_factory=list)


def verdict(response: httpx.Response) -> str:
    """What is wrong with an answer to a mutated body; empty for nothing."""
    if response.status_code >= 500 or response.status_code == 422:
        return f"status {response.status_code}: {response.text[:300]}"
    if response.status_code >= 400:
        try:
            error = response.json()["error"]
        except (ValueError, LookupError, TypeError):
            return f"status {response.status_code} without an error: {response.text[:300]}"
        if "message" not in error or "Traceback" in response.text:
            return f"an error of another shape: {response.text[:300]}"
    return ""


async def send_all(url: str, maker: BodyMaker, count: int, at_once: int, report: Report, pid: int | None) -> None:
    """Sends the bodies 0 to `count`, a few at once, and adds to the report."""
    numbers = iter(range(count))
    every = max(1, count // (SAMPLES - 1))

    async def send(http: httpx.AsyncClient, body: Body) -> float:
        begin = time.perf_counter()
        headers = [(b"content-type", body.content_type.encode())]
        try:
            response = await http.request(body.method, body.path, content=body.content, headers=headers)
        except httpx.HTTPError as error:
            report.wrong.append((body, repr(error)))
            return 0.0
        seconds = time.perf_counter() - begin
        report.statuses[response.status_code] += 1
        report.slowest = max(report.slowest, seconds)
        if said := verdict(response):
            report.wrong.append((body, said))
        return seconds

    async def sender(http: httpx.AsyncClient) -> None:
        for number in numbers:
            if pid is not None and number % every == 0:
                report.megabytes.append(_megabytes(pid))
            body = maker.make(number)
            if await send(http, body) > HANG_SECONDS:
                report.slow.append(body)

    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:
        await asyncio.gather(*(sender(http) for _ in range(at_once)))
        for body in report.slow:
            if (seconds := await send(http, body)) > HANG_SECONDS:
                report.wrong.append((body, f"took {seconds:.1f} s"))
    if pid is not None:
        report.megabytes.append(_megabytes(pid))


def healthy(url: str) -> list[str]:
    """What a server that answered everything must be, and is not."""
    with httpx.Client(base_url=url, timeout=PATIENCE) as http:
        found = [
            f"{path} says {status}"
            for path in ("/readyz", "/health_generate", "/health")
            if (status := http.get(path).status_code) != 200
        ]
        stats = http.get("/get_server_info").json()["stats"]
    found += [f"{stats[name]} {name}" for name in ("running", "waiting") if stats[name]]
    if stats["pages_free"] != stats["pages_total"]:
        found.append(f"{stats['pages_total'] - stats['pages_free']} pages are not free")
    return found


@contextmanager
def _server(url: str | None) -> Iterator[tuple[str, ServerProcess | None]]:
    if url is not None:
        yield url, None
        return
    log = Path(tempfile.mkdtemp(prefix="bodies-")) / "log"
    server = ServerProcess(log, *FLAGS, environ={})
    try:
        server.wait_ready()
        yield server.url, server
    finally:
        server.close()


def _megabytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


def main() -> int:
    """Sends the bodies and prints a report; the exit status says whether the server stood."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--url", help="a running server; the default starts one")
    options = parser.parse_args()
    report = Report()
    with _server(options.url) as (url, server):
        document: dict[str, Any] = httpx.get(f"{url}/openapi.json", timeout=PATIENCE).json()
        maker = BodyMaker(document, options.seed)
        begin = time.perf_counter()
        asyncio.run(
            send_all(url, maker, options.count, options.at_once, report, None if server is None else server.pid)
        )
        seconds = time.perf_counter() - begin
        ill = healthy(url)
        log = "" if server is None else server.log
    if "Traceback" in log:
        ill.append("a traceback in the log: " + log[log.index("Traceback") :][:2000])
    megabytes = report.megabytes
    if megabytes and (growth := megabytes[-1] - megabytes[len(megabytes) // 2]) > MOST_GROWTH_MB:
        ill.append(f"{growth} MB more in the second half")
    for body, what in itertools.islice(report.wrong, 30):
        print(f"WRONG {body.method} {body.path} ({body.content_type}) {body.content[:600]!r}\n      {what}")
    print(f"{options.count} bodies, seed {options.seed}, {len(maker.routes)} routes: {', '.join(maker.routes)}")
    print(f"{seconds:.0f} s, slowest answer {report.slowest:.2f} s; {len(report.slow)} sent again for being slow")
    print(f"{len(report.wrong)} wrong; then {ill or 'healthy'}")
    print(f"statuses: {json.dumps(dict(sorted(report.statuses.items())))}; web process, MB: {megabytes}")
    return bool(report.wrong or ill)


if __name__ == "__main__":
    sys.exit(main())
