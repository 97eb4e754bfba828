"""`sgl-jax-bench serve-mock`: a server with known timings, to test the tester or a client."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

from sgl_jax.bench.commands.flags import duration, integer
from sgl_jax.bench.errors import PortInUseError

if TYPE_CHECKING:
    from sgl_jax.bench.mock.behaviour import Freeze, MockBehaviour

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
        "--tokens", type=integer(1), metavar="N", help="tokens in every answer (default: the request's max_tokens)"
    )
    group.add_argument(
        "--tokens-per-chunk", type=integer(1), default=1, metavar="N", help="tokens in one chunk (default: 1)"
    )
    group.add_argument("--slots", type=integer(1), metavar="N", help="requests served at a time (default: all)")
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


def execute(args: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from sgl_jax.bench.mock.behaviour import MockBehaviour

    behaviour = MockBehaviour(
        ttft=args.ttft,
        itl=args.itl,
        tokens=args.tokens,
        tokens_per_chunk=args.tokens_per_chunk,
        freezes=tuple(args.stall),
        slots=args.slots,
        fail_every=args.fail_every,
        drop_every=args.drop_every,
        usage=not args.no_usage,
        model=args.model,
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(behaviour, args.host, args.port))
    return 0


async def _serve(behaviour: MockBehaviour, host: str, port: int) -> None:
    from sgl_jax.bench.mock.server import MockServer

    server = MockServer(behaviour, host, port, keep_log=False)
    try:
        async with server:
            sys.stdout.write(f"Mock server listening on {server.url}\n")
            sys.stdout.flush()
            await server.serve_forever()
    except OSError as error:
        reason = error.strerror or error
        raise PortInUseError(f"cannot listen on {host}:{port} ({reason}): choose another --port, 0 is any") from error


def _freeze(text: str) -> Freeze:
    from sgl_jax.bench.mock.behaviour import Freeze

    length, at, start = text.partition("@")
    if not at:
        raise argparse.ArgumentTypeError(f"{text!r} is not DURATION@TIME, as in 5s@10s")
    return Freeze(start=duration(start), duration=duration(length))
