"""Flags that several subcommands share, and the types of their values."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgl_jax.bench.durations import parse_duration

if TYPE_CHECKING:
    from sgl_jax.bench.target import TargetOptions

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


def temperature(text: str) -> float:
    """An argparse type: a finite number of at least zero."""
    return 0.0 if text in ("0", "0.0") else positive_number(text)


def duration(text: str) -> float:
    """An argparse type: a duration in seconds, from `300ms`, `1.5s`, `2m` or plain seconds."""
    try:
        return parse_duration(text)
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


def add_prompt_flags(parser: argparse.ArgumentParser, *, max_tokens: int) -> None:
    """Add what says which prompts are sent; `max_tokens` is the default of the flag of that name."""
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
    group.add_argument(
        "--warmup", type=integer(0), default=0, metavar="N", help="requests sent first and not counted (default: 0)"
    )


def add_output_flags(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add what says where numbers go; return the group, for a subcommand's own outputs."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--output", type=Path, metavar="FILE", help="write everything measured, and its provenance, as JSON"
    )
    group.add_argument("--quiet", action="store_true", help="print the report only, no progress")
    return group


def target_options(args: argparse.Namespace) -> TargetOptions:
    """Return the options that `add_server_flags` describes."""
    from sgl_jax.bench.target import TargetOptions

    return TargetOptions(
        url=args.url,
        model=args.model,
        endpoint=args.endpoint,
        temperature=args.temperature,
        seed=args.seed,
        ignore_eos=args.ignore_eos,
        api_key=args.api_key,
        timeout=args.timeout,
    )


def public_flags(args: argparse.Namespace) -> dict[str, Any]:
    """Return the effective flags as JSON values, without secrets and without what argparse is told internally."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(args).items()
        if name not in _SECRET_FLAGS and not callable(value)
    }
