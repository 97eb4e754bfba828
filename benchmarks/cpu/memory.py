"""Memory of the server and all its processes: while it starts, cold and warm, under a load, and idle after it.

    uv run python benchmarks/cpu/memory.py                               # SmolLM2 as it is shipped, 32k tokens
    uv run python benchmarks/cpu/memory.py --kv-cache-dtype fp8_e4m3     # with other flags of `sgl-jax serve`

Two figures of each process: *resident* memory counts what processes share in each of them, *proportional* memory shares
it out, among processes outside the server too. The bar is on the first. Linux only.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

FLAGS = ("--max-total-tokens", "32768")
CONCURRENCY = 16
SHORT, LONG = 40, 1000
"""Tokens of prompts; every eighth is long, and all differ, so that they share no pages."""
REQUESTS, NEW_TOKENS = 32, 64
BAR_MB = 900
LARGE_BYTES = 128 << 20
"""Mappings as large as this are the KV pool's; weights and heaps are in smaller ones."""
_SECONDS_BETWEEN = 0.05
_PATIENCE = 600.0


@dataclass
class Usage:
    """Bytes of one process: `resident` and `proportional` as above, of which `anonymous` is no file's."""

    resident: int = 0
    proportional: int = 0
    anonymous: int = 0


@dataclass
class Watch:
    """Samples a process and all its descendants until the block ends.

    Attributes:
        phase: what happens now; set by whoever makes it happen.
        peaks: phase -> the processes' names and usage when they had most together.
    """

    pid: int
    phase: str = "start"
    peaks: dict[str, dict[str, Usage]] = field(default_factory=dict)

    @contextlib.contextmanager
    def running(self) -> Iterator[Watch]:
        """Samples in a thread of its own."""
        over = threading.Event()

        def sample() -> None:
            while not over.wait(_SECONDS_BETWEEN):
                now = measure(self.pid)
                if total(now) > total(self.peaks.get(self.phase, {})):
                    self.peaks[self.phase] = now

        thread = threading.Thread(target=sample)
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join()


def total(processes: dict[str, Usage]) -> int:
    """Resident bytes of all of them."""
    return sum(usage.resident for usage in processes.values())


def measure(root: int) -> dict[str, Usage]:
    """What a process and its descendants use now, by their names; compilers together under one."""
    found: dict[str, Usage] = {}
    for pid in family(root):
        with contextlib.suppress(OSError):  # it may end meanwhile
            rollup = _kilobytes(Path(f"/proc/{pid}/smaps_rollup").read_text())
            usage = found.setdefault(_name(pid, root), Usage())
            usage.resident += rollup["Rss"]
            usage.proportional += rollup["Pss"]
            usage.anonymous += rollup["Anonymous"]
    return found


def family(root: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def breakdown(pid: int) -> dict[str, int]:
    """Resident bytes of one process by what they are."""
    parts: dict[str, int] = {"KV pool": 0, "libraries": 0, "heap, weights, programs": 0}
    part = ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        head, *rest = line.split(maxsplit=5)
        if not head.endswith(":"):
            begin, end = (int(address, 16) for address in head.split("-"))
            is_file = len(rest) == 5 and rest[-1].startswith("/")
            is_pool = not is_file and end - begin > LARGE_BYTES
            part = "libraries" if is_file else "KV pool" if is_pool else "heap, weights, programs"
        elif head == "Rss:":
            parts[part] += int(rest[0]) * 1024
    return parts


def _kilobytes(text: str) -> dict[str, int]:
    fields = (line.split() for line in text.splitlines()[1:])
    return {name.rstrip(":"): int(value) * 1024 for name, value, *_ in fields}


def _name(pid: int, root: int) -> str:
    if pid == root:
        return "web"
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    return "engine" if b"ipc.worker" in command else "compiler"


def serve(cache: Path, flags: Sequence[str] = FLAGS) -> tuple[dict[str, dict[str, Usage]], dict[str, int], float]:
    """Starts a server, loads it, and stops it.

    Returns:
        The peaks of each phase, what the idle engine's memory is after the load, and seconds until ready.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = [sys.executable, "-m", "sgl_jax.launch_server", "--device=cpu", f"--port={port}", *flags]
    environ = {**os.environ, "SGL_JAX_CACHE_DIR": str(cache)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    begin = time.perf_counter()
    server = subprocess.Popen(program, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with Watch(server.pid).running() as watch:
            _wait_ready(server, port)
            seconds = time.perf_counter() - begin
            watch.phase = "ready"
            time.sleep(1)
            watch.phase = "load"
            _load(port)
            watch.phase = "idle"
            time.sleep(1)
            engine = next(pid for pid in family(server.pid) if _name(pid, server.pid) == "engine")
            return watch.peaks, breakdown(engine), seconds
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def _wait_ready(server: subprocess.Popen[bytes], port: int) -> None:
    end = time.perf_counter() + _PATIENCE
    while server.poll() is None and time.perf_counter() < end:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return
        time.sleep(0.05)
    raise TimeoutError("the server did not become ready; start it by hand with the same flags to see why")


def _load(port: int) -> None:
    random_ids = random.Random(0)
    prompts = [random_ids.choices(range(1000, 40000), k=SHORT if number % 8 else LONG) for number in range(REQUESTS)]

    def generate(prompt: list[int]) -> None:
        sampling = {"temperature": 0, "max_new_tokens": NEW_TOKENS, "ignore_eos": True}
        body = json.dumps({"input_ids": prompt, "sampling_params": sampling}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/generate", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
            answer.read()

    with ThreadPoolExecutor(CONCURRENCY) as clients:
        list(clients.map(generate, prompts))


def run(flags: Sequence[str] = FLAGS) -> list[dict[str, object]]:
    """Rows of a table: a cold start, which compiles everything, then a warm one."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as cache:
        for kind in ("cold", "warm"):
            peaks, parts, seconds = serve(Path(cache), flags)
            for phase, processes in peaks.items():
                row: dict[str, object] = {"start": kind, "phase": phase}
                for name in ("web", "engine", "compiler"):
                    row[f"{name} MB"] = _mb(processes.get(name, Usage()).resident)
                row["all MB"] = _mb(total(processes))
                row["proportional MB"] = _mb(sum(usage.proportional for usage in processes.values()))
                row["anonymous MB"] = _mb(sum(usage.anonymous for usage in processes.values()))
                row["ready after s"] = round(seconds, 1)
                rows.append(row)
            rows[-1]["engine's parts"] = ", ".join(f"{name} {_mb(size)}" for name, size in parts.items())
    return rows


def _mb(num_bytes: int) -> int:
    return round(num_bytes / 1e6)


def main() -> None:
    """Prints a table, and how far it is from the bar."""
    rows = run(sys.argv[1:] or FLAGS)
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    for kind in ("cold", "warm"):
        most = max(int(str(row["all MB"])) for row in rows if row["start"] == kind)
        print(f"{kind}: {most} MB at most, the bar is {BAR_MB}: {'met' if most < BAR_MB else 'missed'}")


if __name__ == "__main__":
    main()
