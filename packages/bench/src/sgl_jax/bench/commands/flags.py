"""Flags that several subcommands share, and the types of their values."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgl_jax.bench.durations import parse_duration

if TYPE_CHECKING:
    from sgl_jax.bench.slo import Slo
    from sgl_jax.bench.target.options import TargetOptions

_SECRET_FLAGS = frozenset({"api_key"})


def integer(minimum: int) -> Callable[[str], int]:
    """Return an argparse type: a whole number of at least `minimum`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from error
        if value < minimum:
            raise argparse.ArgumentTypeError(f"must be at least {minimum}, not {value}")
        return value

    return parse


def positive_number(text: str) -> float:
    """An argparse type: a finite number above zero."""
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from error
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
    return value


def percentage(text: str) -> float:
    """An argparse type: a percentage from 0 to 100, with or without its sign; returns a share from 0 to 1."""
    try:
        value = float(text.removesuffix("%"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage") from error
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"must be from 0 to 100, not {text}")
    return value / 100


def temperature(text: str) -> float:
    """An argparse type: a finite number of at least zero."""
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from error
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be 0 or above, and finite, not {text}")
    return value


def duration(text: str) -> float:
    """An argparse type: a duration in seconds, from `300ms`, `1.5s`, `2m` or plain seconds."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def slo(text: str) -> Slo:
    """An argparse type: service-level objectives, as `ttft:300ms,itl:50ms`."""
    from sgl_jax.bench.slo import Slo

    try:
        return Slo.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def positive_duration(text: str) -> float:
    """An argparse type: a duration above zero, in seconds."""
    seconds = duration(text)
    if seconds <= 0:
        raise argparse.ArgumentTypeError("must be longer than 0")
    return seconds


def add_server_flags(parser: argparse.ArgumentParser) -> None:
    """Add what says which server is measured and how it samples."""
    group = parser.add_argument_group("server")
    group.add_argument(
        "--url",
        default=os.environ.get("SGL_JAX_BASE_URL") or "http://localhost:30000",
        help="server URL (default: $SGL_JAX_BASE_URL, or else http://localhost:30000)",
    )
    group.add_argument("--model", help="model name (default: the first that the server lists)")
    group.add_argument(
        "--endpoint", choices=("chat", "completions"), default="chat", help="route to measure (default: %(default)s)"
    )
    group.add_argument("--api-key", help="bearer token (default: $SGL_JAX_API_KEY)")
    group.add_argument(
        "--timeout",
        type=positive_duration,
        default=600.0,
        metavar="DURATION",
        help="time that one request may take in all, as 30s or 10m (default: 10m)",
    )
    group.add_argument(
        "--wait-ready",
        type=duration,
        default=0.0,
        metavar="DURATION",
        help="wait so long for a server that is still starting, as 5m (default: not at all)",
    )
    group.add_argument(
        "--scrape",
        type=duration,
        default=1.0,
        metavar="DURATION",
        help="how often to read /get_server_info and /metrics meanwhile; 0 never does (default: 1s)",
    )
    sampling = parser.add_argument_group("sampling")
    sampling.add_argument(
        "--temperature", type=temperature, default=0.7, help="sampling temperature (default: %(default)s)"
    )
    sampling.add_argument(
        "--seed", type=integer(0), help="makes a run repeatable: request i is sent with seed SEED+i (default: none)"
    )
    sampling.add_argument(
        "--ignore-eos", action="store_true", help="always generate --max-tokens tokens (SGL-JAX, SGLang, vLLM)"
    )


def add_workload_flags(parser: argparse.ArgumentParser, *, max_tokens: int) -> None:
    """Add what says which requests are sent; `max_tokens` is the default of the flag of that name."""
    group = parser.add_argument_group("workload")
    group.add_argument(
        "--max-tokens",
        type=integer(1),
        default=max_tokens,
        help="most tokens to generate per request (default: %(default)s)",
    )
    group.add_argument(
        "--prompt-file",
        type=Path,
        metavar="FILE",
        help="prompts, one a line, cycled when fewer than requests (default: built-in questions)",
    )
    group.add_argument("--sharegpt", type=Path, metavar="FILE", help="first turns of conversations in ShareGPT's JSON")
    group.add_argument(
        "--jsonl", type=Path, metavar="FILE", help="requests as JSON Lines, with prompt, messages or input_len each"
    )
    group.add_argument(
        "--input-len",
        metavar="LENGTH",
        help="made-up prompts of so many tokens: 512, uniform:100:1000 or lognormal:512:0.5",
    )
    group.add_argument("--output-len", metavar="LENGTH", help="and answers of so many at most; exact with --ignore-eos")
    group.add_argument(
        "--workload",
        action="append",
        metavar="SPEC",
        help="any workload, as shared-prefix,groups=4,prefix=1024; repeated, with weight=N each, a mix (see README)",
    )
    group.add_argument("--json-schema", type=Path, metavar="FILE", help="ask for answers that match this JSON schema")
    group.add_argument(
        "--warmup", type=integer(0), default=0, metavar="N", help="requests sent first and not counted (default: 0)"
    )


def add_output_flags(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add what says where numbers go; return the group, for a subcommand's own outputs."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--output",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="write all measurements and their provenance as .json; or .md, .csv, .html, .png, .svg, .pdf; repeatable",
    )
    group.add_argument(
        "--slo",
        type=slo,
        metavar="LIMITS",
        help="what a good request keeps to, as ttft:300ms,itl:50ms (also tpot, e2e); reports goodput",
    )
    group.add_argument("--quiet", action="store_true", help="print the report only, no progress")
    return group


def add_plot_flag(group: argparse._ArgumentGroup, default: str) -> None:
    """Add the guide's `--plot [FILE]`."""
    group.add_argument(
        "--plot",
        nargs="?",
        type=Path,
        const=Path(default),
        metavar="FILE",
        help=f"draw the run as a picture (default file: {default})",
    )


def target_options(args: argparse.Namespace) -> TargetOptions:
    """Return the options that `add_server_flags` describes."""
    from sgl_jax.bench.target.options import TargetOptions

    return TargetOptions(
        url=args.url,
        model=args.model,
        endpoint=args.endpoint,
        temperature=args.temperature,
        seed=args.seed,
        ignore_eos=args.ignore_eos,
        api_key=args.api_key,
        timeout=args.timeout,
        wait_ready=args.wait_ready,
    )


def public_flags(args: argparse.Namespace) -> dict[str, Any]:
    """Return the effective flags as JSON values, without secrets and without what argparse is told internally."""
    return {
        name: _plain(value) for name, value in vars(args).items() if name not in _SECRET_FLAGS and not callable(value)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
