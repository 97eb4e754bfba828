"""`sgl-jax-bench load`: an open-loop load test, the guide's `load_test.py`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sgl_jax.bench.commands.flags import (
    add_output_flags,
    add_prompt_flags,
    add_server_flags,
    positive_duration,
    positive_number,
    target_options,
)
from sgl_jax.bench.commands.measure import measure_and_report, prompt_workload

NAME = "load"
HELP = "open loop: requests leave at a set rate, however slow the answers are"

_DEFAULT_PLOT = Path("load_test_results.png")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's flags."""
    group = parser.add_argument_group("load")
    group.add_argument(
        "--duration",
        type=positive_duration,
        default=60.0,
        help="for how long requests are sent, in seconds or as 2m (default: 60); the last answers are waited for",
    )
    group.add_argument("--rps", type=positive_number, default=10.0, help="requests per second (default: 10)")
    group.add_argument(
        "--arrivals",
        choices=("constant", "poisson"),
        default="constant",
        help="evenly spaced, or at random as many users would; --seed fixes the latter (default: %(default)s)",
    )
    add_prompt_flags(parser, max_tokens=50)
    add_server_flags(parser)
    add_output_flags(parser).add_argument(
        "--plot",
        nargs="?",
        type=Path,
        const=_DEFAULT_PLOT,
        metavar="FILE",
        help=f"draw the run as a picture (default file: {_DEFAULT_PLOT})",
    )


def execute(args: argparse.Namespace) -> int:
    """Run the load test, print the report, and return the exit code: 0, or 1 when a request failed."""
    from sgl_jax.bench.arrival import constant_arrivals, poisson_arrivals
    from sgl_jax.bench.report import load_rows
    from sgl_jax.bench.results import check_writable
    from sgl_jax.bench.session import BenchmarkPlan
    from sgl_jax.bench.strategy import ArrivalStrategy
    from sgl_jax.bench.workload.builtin import NumberedQuestion

    if args.plot is not None:
        check_writable(args.plot)
    if args.arrivals == "poisson":
        offsets = list(poisson_arrivals(args.rps, args.duration, args.seed or 0))
    else:
        offsets = list(constant_arrivals(args.rps, args.duration))
    title = f"Starting load test: {args.duration:g}s duration, {args.rps:g} requests/second, {args.arrivals} arrivals"
    plan = BenchmarkPlan(
        title=title,
        options=target_options(args),
        workload=prompt_workload(args, NumberedQuestion),
        strategy=ArrivalStrategy(args.arrivals, args.rps, offsets),
        warmup=args.warmup,
    )
    result, code = measure_and_report(
        args, plan, command=NAME, total=len(offsets), heading="Load Test Results", rows=load_rows
    )
    if args.plot is not None:
        from sgl_jax.bench.plot import plot_run

        drawn = plot_run(result, args.plot)
        sys.stdout.write(f"Plot saved to {args.plot}\n" if drawn else "Nothing to plot: no request succeeded\n")
    return code
