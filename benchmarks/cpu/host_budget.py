"""What a step of decoding costs the host through HTTP: processor time of each thread of our server, and its waiting.

`uv run python benchmarks/cpu/host_budget.py [--nice 5] [--batch] [-- --cpu-threads=1 …]` writes
`results/host_budget.json` and `.md`. Times in ms a step. *waits* is time in which threads were ready to run and no core
was free; the kernel's own books (schedstat) tell. Host work is that of the web process, and of the engine's thread of
Python with its sender; the engine's other threads are the kernels.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "engine")]

import tables  # noqa: E402
from cells import Cell, measure  # noqa: E402
from contenders import CONTENDERS  # noqa: E402
from peers import Peers, default_folder  # noqa: E402
from provenance import provenance  # noqa: E402
from servers import Server, end_cleanly, free_port, started  # noqa: E402

CELLS = (Cell(1, 64, 6), Cell(16, 64, 48), Cell(32, 64, 64))


@dataclass(frozen=True)
class Thread:
    """A thread's books: seconds that it ran, and that it waited for a core."""

    process: str
    name: str
    ran: float
    waited: float


def threads(server: Server) -> dict[tuple[int, int], Thread]:
    """All threads of the server now; the first process is the web's."""
    found = {}
    for pid in server.processes():
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                ran, waited, _ = map(int, (task / "schedstat").read_text().split())
                name = (task / "comm").read_text().strip()
            except OSError:  # it ended meanwhile
                continue
            process = "web" if pid == server.pid else "engine"
            name = "main" if int(task.name) == pid else re.sub(r"[/-]\d+$|_\d+$", "", name)
            found[pid, int(task.name)] = Thread(process, name, ran / 1e9, waited / 1e9)
    return found


def steps(server: Server) -> float:
    """Steps of the engine so far, from the server's metrics."""
    text = urllib.request.urlopen(f"{server.url}/metrics").read().decode()
    return float(re.findall(r"^sgl_jax_steps_total(?:{.*})? (\S+)", text, re.MULTILINE)[0])


def budget(server: Server, cell: Cell, model: Path, seed: int) -> dict[str, object]:
    """One load; figures in ms a step."""
    measure(server, Cell(cell.clients, cell.prompt, cell.clients), model, seed)
    first, begin = steps(server), threads(server)
    measured = measure(server, cell, model, seed + 1)
    end, count = threads(server), steps(server) - first
    books: dict[tuple[str, str], list[float]] = {}
    for key, thread in end.items():
        before = begin.get(key)
        book = books.setdefault((thread.process, thread.name), [0.0, 0.0])
        book[0] += thread.ran - (before.ran if before else 0.0)
        book[1] += thread.waited - (before.waited if before else 0.0)
    per_step = {key: (1e3 * ran / count, 1e3 * waited / count) for key, (ran, waited) in books.items()}
    web = [value for (process, _), value in per_step.items() if process == "web"]
    host = [value for (process, name), value in per_step.items() if process == "engine" and _is_host(name)]
    kernels = [value for (process, name), value in per_step.items() if process == "engine" and not _is_host(name)]
    return {
        "clients": cell.clients,
        "tok/s": round(measured.tokens_per_second),
        "TPOT ms": round(measured.tpot, 2),
        "steps": round(count),
        "web": round(sum(ran for ran, _ in web), 3),
        "engine's Python": round(sum(ran for ran, _ in host), 3),
        "kernels": round(sum(ran for ran, _ in kernels), 2),
        "web waits": round(sum(waited for _, waited in web), 3),
        "Python waits": round(sum(waited for _, waited in host), 3),
        "kernels wait": round(sum(waited for _, waited in kernels), 2),
        "threads": {f"{p} {n}": [round(v, 3) for v in value] for (p, n), value in sorted(per_step.items())},
    }


def _is_host(name: str) -> bool:
    return name in ("main", "ZMQbg") or name.startswith("ZMQ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nice", type=int, default=0, help="of the web process")
    parser.add_argument("--batch", action="store_true", help="the web process never preempts the engine")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "host_budget", help="without suffix")
    parser.add_argument("flags", nargs="*", help="further flags of our server, after --")
    args = parser.parse_args()
    end_cleanly()
    source = {**provenance(), "web nice": args.nice, "web batch": args.batch, "flags": " ".join(args.flags) or "none"}
    contender, cores, port = CONTENDERS[0], sorted(os.sched_getaffinity(0)), free_port()
    peers = Peers(default_folder())
    command = [*contender.command(peers, port, cores), "--enable-metrics", *args.flags]
    with (
        tempfile.TemporaryDirectory() as folder,
        started(contender.name, command, port, cores, {}, Path(folder) / "log") as server,
    ):
        for task in Path(f"/proc/{server.pid}/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(task.name), args.nice)
            if args.batch:
                os.sched_setscheduler(int(task.name), os.SCHED_BATCH, os.sched_param(0))
        rows = [budget(server, cell, peers.gguf("Q4_1"), 10 * cell.clients) for cell in CELLS]
    print(tables.write(args.output, __doc__ or "", source, rows))


if __name__ == "__main__":
    main()
