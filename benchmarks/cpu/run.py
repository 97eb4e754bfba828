"""Our server against the others on this CPU, through HTTP: writes `results/peers.json` and `results/peers.md`.

uv run python benchmarks/cpu/run.py --quick          # four minutes: does everything work?
uv run python benchmarks/cpu/run.py                  # a round of all cells is nine minutes on two cores
uv run python benchmarks/cpu/run.py --only ours Q4_1 --only llama.cpp Q4_1
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

HERE = Path(__file__).parent
ONE_CORE_SECONDS = 90.0
"""What is kept of the time for the comparison on one core."""
sys.path[:0] = [str(HERE), str(HERE.parent / "engine")]

from alone import weigh  # noqa: E402
from cells import CELLS, ONE_CORE_CELLS, CellError  # noqa: E402
from contenders import CONTENDERS, ONE_CORE, Contender  # noqa: E402
from peers import PeerError, Peers, default_folder  # noqa: E402
from provenance import provenance  # noqa: E402
from report import Report  # noqa: E402
from rounds import Rounds  # noqa: E402
from servers import Server, StartError, end_cleanly, free_port, started  # noqa: E402


def main() -> None:
    args = _arguments()
    end_cleanly()
    peers = Peers(args.peers_dir)
    report = Report("peers", provenance(), args.preliminary, [], {})
    report.contenders = _provided(peers, [one for one in CONTENDERS if one.is_named(args.only)], report.left_out)
    report.provenance |= {"cores": len(args.cores), **peers.versions()}
    begin = time.perf_counter()  # installing does not count
    deadline = begin + 60 * args.minutes
    if not args.quick:
        for contender in report.contenders:
            with _trying(contender, report.left_out), _server(contender, peers, args.cores) as server:
                report.weights[contender.name] = weigh(server, peers.gguf("Q4_1"))
    alone = [one for one in report.contenders if one.name in ONE_CORE and not args.quick]
    cells = [cell for cell in CELLS if cell.quick or not args.quick]
    with _servers(report.contenders, peers, args.cores, report.left_out) as servers:
        rounds = Rounds(servers, peers.gguf("Q4_1"), deadline - (ONE_CORE_SECONDS if alone else 0.0), _say)
        rounds.warm(report.contenders)
        rounds.run(report.contenders, cells, 1 if args.quick else args.rounds)
        report.turns, report.left_out = rounds.turns, {**report.left_out, **rounds.failures}
    _write(report, args.output, begin)
    if alone:
        with _servers(alone, peers, args.cores[:1], report.left_out) as servers:
            rounds = Rounds(servers, peers.gguf("Q4_1"), deadline, _say)
            rounds.warm(alone)
            rounds.run(alone, ONE_CORE_CELLS, args.rounds)
            report.one_core = rounds.turns
        _write(report, args.output, begin)
    print(report.to_markdown())


def _write(report: Report, output: Path, begin: float) -> None:
    report.provenance["minutes"] = round((time.perf_counter() - begin) / 60, 1)
    output.parent.mkdir(exist_ok=True, parents=True)
    output.with_suffix(".json").write_text(json.dumps(report.to_json(), indent=1) + "\n")
    output.with_suffix(".md").write_text(report.to_markdown())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of four cells; nobody is weighed")
    parser.add_argument("--rounds", type=int, default=5, help="of every cell at most (default: 5)")
    parser.add_argument("--minutes", type=float, default=14, help="later rounds that take longer are left out")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="contenders whose name has this")
    parser.add_argument("--cores", type=_cores, default=sorted(os.sched_getaffinity(0)), help="as 0,1 (default: all)")
    parser.add_argument("--peers-dir", type=Path, default=default_folder(), help="where peers are installed")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "peers", help="without suffix")
    parser.add_argument("--preliminary", default="", metavar="WHY", help="mark the results as not the last word")
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, flush=True)


def _cores(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _provided(peers: Peers, contenders: Sequence[Contender], left_out: dict[str, str]) -> list[Contender]:
    """Those whose software and weights are there, or could be had."""
    ready = []
    for contender in contenders:
        try:
            peers.provide(contender.engine, contender.weights)
            ready.append(contender)
        except PeerError as error:
            left_out[contender.name] = str(error)
            print(f"{contender.name} is left out: {error}")
    return ready


@contextmanager
def _trying(contender: Contender, left_out: dict[str, str]) -> Iterator[None]:
    """Notes a server that does not start or cannot be measured, and goes on."""
    try:
        yield
    except (StartError, CellError) as error:
        left_out[contender.name] = str(error)
        print(f"{contender.name} is left out: {error}")


@contextmanager
def _server(contender: Contender, peers: Peers, cores: Sequence[int]) -> Iterator[Server]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command, env = contender.command(peers, port, cores), contender.environment(cores)
        with started(contender.name, command, port, cores, env, Path(folder) / "log") as server:
            print(f"{contender.name} was ready after {server.ready_seconds:.1f} s", flush=True)
            yield server


@contextmanager
def _servers(
    contenders: Sequence[Contender], peers: Peers, cores: Sequence[int], left_out: dict[str, str]
) -> Iterator[dict[str, Server]]:
    """All of them at once, one started after the other."""
    with ExitStack() as stack:
        servers = {}
        for contender in contenders:
            if contender.name not in left_out:
                with _trying(contender, left_out):
                    servers[contender.name] = stack.enter_context(_server(contender, peers, cores))
        yield servers


if __name__ == "__main__":
    main()
