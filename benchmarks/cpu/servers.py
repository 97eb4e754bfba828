"""Starts a server that somebody wrote, waits until it answers, weighs it, and ends it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

READY_SECONDS = 300.0
POLL_SECONDS = 0.1
END_SECONDS = 20.0
TICKS = os.sysconf("SC_CLK_TCK")


class StartError(Exception):
    """A server did not come up; the message ends with the last lines that it wrote."""


@dataclass
class Server:
    """A running server.

    Attributes:
        name: the contender's.
        url: its root.
        pid: the first process; the others are its descendants.
        ready_seconds: from the start of the process to the first answered completion.
    """

    name: str
    url: str
    pid: int
    ready_seconds: float = 0.0

    def processes(self) -> list[int]:
        """The process and its descendants."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (fields := _stat(int(entry.name))):
                children.setdefault(int(fields[1]), []).append(int(entry.name))
        found = [self.pid]
        for pid in found:  # grows while it is walked
            found += children.get(pid, [])
        return found

    @contextmanager
    def alone(self, others: Iterable[Server]) -> Iterator[None]:
        """Stops these other servers while the block runs: some take processor time when they have nothing to do."""
        stopped = [pid for other in others if other is not self for pid in other.processes()]
        _signal(stopped, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(stopped, signal.SIGCONT)

    def cpu_seconds(self) -> float:
        """Processor time that the tree has taken so far, user and system."""
        stats = [_stat(pid) for pid in self.processes()]
        return sum(int(fields[11]) + int(fields[12]) for fields in stats if fields) / TICKS

    def pss_bytes(self) -> int:
        """Memory of the tree; what it shares with other processes counts in proportion."""
        total = 0
        for pid in self.processes():
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:  # it ended meanwhile
                continue
            total += sum(1024 * int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
        return total


class PeakMemory:
    """Notes the largest `pss_bytes` of a server, looking five times a second, while the block runs."""

    def __init__(self, server: Server) -> None:
        self.peak = 0
        self._server = server
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.2):
            self.peak = max(self.peak, self._server.pss_bytes())


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # it ended meanwhile
            os.kill(pid, number)


@contextmanager
def started(
    name: str, command: Sequence[str], port: int, cores: Sequence[int], env: Mapping[str, str], log: Path
) -> Iterator[Server]:
    """Runs `command`, which listens on `port`, on these cores only; ends the whole tree afterwards.

    Raises:
        StartError: it ended, or answered nothing in time.
    """
    pinned = ["taskset", "--cpu-list", ",".join(map(str, cores)), *command]
    begin = time.perf_counter()
    with log.open("wb") as output:
        # In our process group, so that what ends this script ends the servers, too.
        process = subprocess.Popen(pinned, env={**os.environ, **env}, stdout=output, stderr=output)
    server = Server(name, f"http://127.0.0.1:{port}", process.pid)
    try:
        while not _answers(port):
            if process.poll() is not None or time.perf_counter() - begin > READY_SECONDS:
                raise StartError(
                    f"{name} did not start: {' | '.join(log.read_text(errors='replace').splitlines()[-8:])}"
                )
            time.sleep(POLL_SECONDS)
        server.ready_seconds = time.perf_counter() - begin
        yield server
    finally:
        _end(server, process)


def end_cleanly() -> None:
    """Makes SIGTERM end the script as Ctrl-C does: with the servers that it started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _answers(port: int) -> bool:
    """Whether a completion of one token comes out. Servers that load say 503, or refuse the connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/v1/models")
        models = json.loads(connection.getresponse().read())["data"]
        body = {"model": models[0]["id"], "prompt": "Hello", "max_tokens": 1, "temperature": 0}
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        reply.read()
        return reply.status == 200
    except (OSError, http.client.HTTPException, ValueError, KeyError, IndexError, TypeError):
        return False
    finally:
        connection.close()


def _end(server: Server, process: subprocess.Popen[bytes]) -> None:
    tree = server.processes()
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _signal(tree[1:], signal.SIGKILL)  # vLLM's engine may outlive its parent


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat behind the name; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
