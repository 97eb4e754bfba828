"""Four busy loops beside a server, on its own cores: how much slower does it get, and does every request end?

`uv run python benchmarks/cpu/oversubscription.py [--only NAME …]` writes `results/oversubscription.json` and `.md`.
With as many loops as that, a server that computes with two threads is owed a third of two cores: `fair` is what it
would do if it got just that. Servers whose threads wait for each other by spinning get much less.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "engine")]

import tables  # noqa: E402
from cells import Cell, CellError, measure  # noqa: E402
from contenders import CONTENDERS, Contender  # noqa: E402
from peers import PeerError, Peers, default_folder  # noqa: E402
from provenance import provenance  # noqa: E402
from servers import StartError, end_cleanly, free_port, started  # noqa: E402

LOOPS = 4
CELLS = (Cell(1, 64, 2), Cell(8, 64, 8))
LONGEST_SECONDS = 240
"""After this a busy loop ends by itself, whatever became of this script."""
DEFAULT = ("ours Q4_1", "llama.cpp Q4_1", "ours BF16", "llama.cpp BF16")


@contextmanager
def busy(loops: int, cores: Sequence[int]) -> Iterator[None]:
    """Runs loops that do nothing, on these cores."""
    code = f"import time\nend = time.monotonic() + {LONGEST_SECONDS}\nwhile time.monotonic() < end: pass"
    command = ["taskset", "--cpu-list", ",".join(map(str, cores)), sys.executable, "-c", code]
    processes = [subprocess.Popen(command) for _ in range(loops)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def rows_of(contender: Contender, peers: Peers, cores: Sequence[int]) -> list[dict[str, object]]:
    """Quiet and busy figures of one server.

    Raises:
        StartError: it does not start.
        CellError: a load without a single answer, which is what this benchmark looks for.
    """
    rows: list[dict[str, object]] = []
    port, model = free_port(), peers.gguf("Q4_1")
    command, env = contender.command(peers, port, cores), contender.environment(cores)
    with (
        tempfile.TemporaryDirectory() as folder,
        started(contender.name, command, port, cores, env, Path(folder) / "log") as server,
    ):
        for seed, cell in enumerate(CELLS):
            measure(server, cell, model, seed)
            quiet = measure(server, cell, model, seed + 10)
            with busy(LOOPS, cores):
                loaded = measure(server, cell, model, seed + 20)
            share = len(cores) / (len(cores) + LOOPS)
            rows.append(
                {
                    "server": contender.name,
                    "clients": cell.clients,
                    "quiet tok/s": round(quiet.tokens_per_second, 1),
                    "busy tok/s": round(loaded.tokens_per_second, 1),
                    "fair tok/s": round(quiet.tokens_per_second * share, 1),
                    "busy / fair": round(loaded.tokens_per_second / quiet.tokens_per_second / share, 2),
                    "quiet TTFT ms": round(quiet.ttft),
                    "busy TTFT ms": round(loaded.ttft),
                    "failed": loaded.failed,
                }
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="contenders whose name has this")
    parser.add_argument("--peers-dir", type=Path, default=default_folder(), help="where peers are installed")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "oversubscription", help="without suffix")
    args = parser.parse_args()
    end_cleanly()
    peers, cores, source = Peers(args.peers_dir), sorted(os.sched_getaffinity(0)), provenance()
    rows, left_out = [], {}
    for contender in CONTENDERS:
        if not contender.is_named(args.only or DEFAULT):
            continue
        try:
            peers.provide(contender.engine, contender.weights)
            rows += rows_of(contender, peers, cores)
        except (PeerError, StartError, CellError) as error:
            left_out[contender.name] = str(error)
            print(f"{contender.name}: {error}", flush=True)
    notes = [f"Without {name}: {reason}" for name, reason in left_out.items()]
    print(tables.write(args.output, __doc__ or "", source, rows, notes))


if __name__ == "__main__":
    main()
