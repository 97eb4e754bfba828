"""The command line: `sgl-jax-bench COMMAND`. Each command lives in `commands/`, and imports what it needs when it runs.

Exit codes: 0 all is well; 1 a request failed, or something got worse; 2 nothing could be measured or compared (wrong
flags, no server, no file); 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from sgl_jax.bench.commands import compare, load, report, run, serve_mock, sweep
from sgl_jax.bench.errors import BenchError

_COMMANDS = (run, load, sweep, compare, report, serve_mock)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="sgl-jax-bench", description="Benchmark an OpenAI-compatible LLM server over HTTP.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('sgl-jax-bench')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for command in _COMMANDS:
        subparser = commands.add_parser(
            command.NAME, help=command.HELP, description=f"{command.HELP}.".capitalize(), allow_abbrev=False
        )
        command.configure(subparser)
        subparser.set_defaults(execute=command.execute)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = build_parser().parse_args(argv)
    try:
        code: int = args.execute(args)
    except KeyboardInterrupt:
        sys.stderr.write("sgl-jax-bench: interrupted\n")
        return 130
    except BenchError as error:
        sys.stderr.write(f"sgl-jax-bench: {error}\n")
        return 2
    except BrokenPipeError:  # the reader has seen enough: `sgl-jax-bench ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code
