"""`sgl-jax-bench sweep`: one measurement after the other at rising load."""

from __future__ import annotations

import argparse
import sys

from sgl_jax.bench.commands.flags import (
    add_output_flags,
    add_plot_flag,
    add_server_flags,
    add_workload_flags,
    percentage,
    positive_duration,
    public_flags,
    target_options,
)
from sgl_jax.bench.commands.load import add_arrival_flags
from sgl_jax.bench.commands.measure import present
from sgl_jax.bench.commands.workloads import chosen_workload
from sgl_jax.bench.sweep.levels import parse_levels

NAME = "sweep"
HELP = "rising load, until throughput no longer grows or an objective breaks"


def _levels(text: str) -> tuple[float, ...]:
    try:
        return parse_levels(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _whole_levels(text: str) -> tuple[float, ...]:
    levels = _levels(text)
    if not all(level.is_integer() for level in levels):
        raise argparse.ArgumentTypeError(f"{text!r}: concurrent requests are counted in whole numbers")
    return levels


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's flags."""
    group = parser.add_argument_group("load")
    ladder = group.add_mutually_exclusive_group()
    ladder.add_argument(
        "--concurrency",
        type=_whole_levels,
        default=_whole_levels("1:64"),
        metavar="LEVELS",
        help="closed loop: concurrent requests, as 1,2,4,8, or 1:64 to double from 1 up to 64 (default: 1:64)",
    )
    ladder.add_argument(
        "--rates", type=_levels, metavar="LEVELS", help="open loop: requests a second, as 1,2,5,10 or 1:64"
    )
    group.add_argument(
        "--duration",
        type=positive_duration,
        default=15.0,
        help="for how long requests are sent at each level, in seconds or as 1m (default: 15)",
    )
    add_arrival_flags(group)
    group.add_argument(
        "--min-gain",
        type=percentage,
        default=0.05,
        metavar="PERCENT",
        help="stop when a level brings less than this more throughput; 0 measures them all (default: 5)",
    )
    group.add_argument(
        "--min-good",
        type=percentage,
        default=0.95,
        metavar="PERCENT",
        help="stop when fewer requests than this succeed and keep the objectives (default: 95)",
    )
    add_workload_flags(parser, max_tokens=100)
    add_server_flags(parser)
    add_plot_flag(add_output_flags(parser), "sweep_results.png")


def execute(args: argparse.Namespace) -> int:
    """Climb, print the report, and return the exit code: 0, or 1 when no level was good."""
    from sgl_jax.bench.progress.display import make_progress
    from sgl_jax.bench.report.outputs import check_outputs
    from sgl_jax.bench.report.sweep_document import SweepDocument
    from sgl_jax.bench.sweep.climb import StopRule
    from sgl_jax.bench.sweep.session import SweepPlan, carry_out_sweep

    outputs = [*args.output, *([args.plot] if args.plot else [])]
    check_outputs(outputs)
    plan = SweepPlan(
        options=target_options(args),
        workload=chosen_workload(args, "numbered"),
        levels=args.rates or args.concurrency,
        arrivals=args.arrivals if args.rates else None,
        burstiness=args.burstiness,
        seconds=args.duration,
        rule=StopRule(args.min_gain, args.min_good),
        seed=args.seed or 0,
        warmup=args.warmup,
        scrape_seconds=args.scrape,
        slo=args.slo,
    )
    progress = make_progress(None, sys.stderr, quiet=args.quiet)
    sweep = carry_out_sweep(plan, progress, NAME, public_flags(args))
    present(SweepDocument(sweep), outputs)
    return 1 if sweep.best is None else 0
