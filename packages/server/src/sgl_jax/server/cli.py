"""The `sgl-jax` command. `python -m sgl_jax.launch_server` is `sgl-jax serve` under its long name."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Sequence

from sgl_jax.engine.errors import ConfigError
from sgl_jax.server.command_line import parse_launch

_USAGE = """\
usage: sgl-jax <command> [flags]

commands:
  serve      serve a model over HTTP (sgl-jax serve --help lists the flags)
  doctor     look at this machine as the server would, and say what is missing
  top        watch a running server

  --version  print the version
  --help     print this
"""

EXIT_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the process's exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    match given[:1]:
        case ["serve"]:
            return serve(given[1:])
        case ["doctor"]:
            return _run("sgl-jax doctor", _doctor, given[1:])
        case ["top"]:
            return _run("sgl-jax top", _top, given[1:])
        case ["--version"]:
            print(importlib.metadata.version("sgl-jax-server"))  # noqa: T201 - it is what was asked for
            return 0
        case [] | ["-h"] | ["--help"] | ["help"]:
            print(_USAGE, end="")  # noqa: T201 - likewise
            return 0
        case _:
            return _usage_error("sgl-jax", f"Unknown command {given[0]!r}. The command to serve a model is 'serve'.")


def _doctor(arguments: Sequence[str]) -> int:
    from sgl_jax.server.doctor.command import doctor

    return doctor(arguments)


def _top(arguments: Sequence[str]) -> int:
    from sgl_jax.server.top.command import top

    return top(arguments)


def serve(arguments: Sequence[str], prog: str = "sgl-jax serve") -> int:
    """Serves until told to stop.

    Args:
        arguments: flags only.
        prog: what the user typed, for messages.

    Returns:
        0 after an ordered stop, 1 when the engine failed, 2 when the flags cannot work.
    """

    def launch_server(arguments: Sequence[str]) -> int:
        config = parse_launch(arguments, prog)
        # After parsing: --help and a mistyped flag need not wait for the web framework.
        from sgl_jax.server.launch import launch

        return launch(config)

    return _run(prog, launch_server, arguments)


def _run(prog: str, command: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    try:
        return command(arguments)
    except ConfigError as error:
        return _usage_error(prog, str(error))
    except KeyboardInterrupt:
        return 130


def _usage_error(prog: str, message: str) -> int:
    print(f"{prog}: error: {message}", file=sys.stderr)  # noqa: T201 - before there is a log
    return EXIT_USAGE
