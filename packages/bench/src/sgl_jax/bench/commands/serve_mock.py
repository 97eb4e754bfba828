"""`sgl-jax-bench serve-mock`: a server with known timings, to test the tester or a client."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sgl_jax.bench.commands.flags import duration, integer
from sgl_jax.bench.errors import PortInUseError

if TYPE_CHECKING:
    from sgl_jax.bench.mock.behaviour import Freeze, MockBehaviour
    from sgl_jax.bench.mock.server import MockServer

NAME = "serve-mock"
HELP = "a fake server whose tokens leave on a timetable"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's flags."""
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default: %(default)s)")
    parser.add_argument("--port", type=integer(0), default=30000, help="0 picks a free one (default: %(default)s)")
    parser.add_argument("--model", default="mock", help="name of the served model (default: %(default)s)")
    group = parser.add_argument_group("timing")
    group.add_argument(
        "--ttft", type=duration, default=0.05, metavar="DURATION", help="time to the first token (default: 50ms)"
    )
    group.add_argument(
        "--itl", type=duration, default=0.01, metavar="DURATION", help="time from token to token (default: 10ms)"
    )
    group.add_argument(
        "--in-step", action="store_true", help="send all requests' tokens together, as a server that batches does"
    )
    group.add_argument(
        "--tokens", type=integer(1), metavar="N", help="tokens in every answer (default: the request's max_tokens)"
    )
    group.add_argument(
        "--tokens-per-chunk", type=integer(1), default=1, metavar="N", help="tokens in one chunk (default: 1)"
    )
    group.add_argument("--slots", type=integer(1), metavar="N", help="requests served at a time (default: all)")
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="when it ends, write what was really sent and when, as JSON Lines"
    )
    faults = parser.add_argument_group("faults")
    faults.add_argument(
        "--stall",
        type=_freeze,
        action="append",
        default=[],
        metavar="DURATION@TIME",
        help="freeze the whole server, for instance 5s@10s: for 5 s, 10 s after the first request; repeatable",
    )
    faults.add_argument(
        "--fail-every", type=integer(0), default=0, metavar="N", help="answer every N-th request with HTTP 500"
    )
    faults.add_argument(
        "--drop-every", type=integer(0), default=0, metavar="N", help="cut every N-th stream after half its tokens"
    )
    faults.add_argument("--no-usage", action="store_true", help="leave `usage` out of the answers")
    faults.add_argument("--no-stats", action="store_true", help="have neither /get_server_info nor /metrics")


def execute(args: argparse.Namespace) -> int:
    """Serve until interrupted."""
    import asyncio  # takes half as long to import as --help takes

    from sgl_jax.bench.mock.behaviour import MockBehaviour

    behaviour = MockBehaviour(
        ttft=args.ttft,
        itl=args.itl,
        in_step=args.in_step,
        tokens=args.tokens,
        tokens_per_chunk=args.tokens_per_chunk,
        freezes=tuple(args.stall),
        slots=args.slots,
        fail_every=args.fail_every,
        drop_every=args.drop_every,
        usage=not args.no_usage,
        stats=not args.no_stats,
        model=args.model,
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(behaviour, args.host, args.port, args.log))
    return 0


async def _serve(behaviour: MockBehaviour, host: str, port: int, log: Path | None) -> None:
    from sgl_jax.bench.mock.server import MockServer

    server = MockServer(behaviour, host, port, keep_log=log is not None)
    try:
        async with server:
            sys.stdout.write(f"Mock server listening on {server.url}\n")
            sys.stdout.flush()
            await server.serve_forever()
    except OSError as error:
        reason = error.strerror or error
        raise PortInUseError(f"cannot listen on {host}:{port} ({reason}): choose another --port, 0 is any") from error
    finally:
        if log is not None:
            _write_log(server, log)


def _write_log(server: MockServer, path: Path) -> None:
    import json

    from sgl_jax.bench.results import write_text

    lines = (json.dumps({"arrived": served.arrived, "sent": served.sent}) for served in server.log)
    write_text(path, "".join(f"{line}\n" for line in lines))


def _freeze(text: str) -> Freeze:
    from sgl_jax.bench.mock.behaviour import Freeze

    length, at, start = text.partition("@")
    if not at:
        raise argparse.ArgumentTypeError(f"{text!r} is not DURATION@TIME, as in 5s@10s")
    return Freeze(start=duration(start), duration=duration(length))
