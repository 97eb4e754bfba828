"""`sgl-jax-bench load`: an open-loop load test, the guide's `load_test.py`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sgl_jax.bench.commands.flags import (
    add_output_flags,
    add_plot_flag,
    add_server_flags,
    add_workload_flags,
    positive_duration,
    positive_number,
    target_options,
)
from sgl_jax.bench.commands.measure import measure_and_report
from sgl_jax.bench.commands.workloads import chosen_workload
from sgl_jax.bench.errors import WorkloadError

if TYPE_CHECKING:
    from sgl_jax.bench.session import BenchmarkPlan

NAME = "load"
HELP = "open loop: requests leave at a set rate, however slow the answers are"

_DEFAULT_SECONDS = 60.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's flags."""
    group = parser.add_argument_group("load")
    group.add_argument(
        "--duration",
        type=positive_duration,
        help="for how long requests are sent, in seconds or as 2m (default: 60, or all of a trace); "
        "the last answers are waited for",
    )
    group.add_argument("--rps", type=positive_number, default=10.0, help="requests per second (default: 10)")
    add_arrival_flags(group)
    group.add_argument(
        "--trace",
        type=Path,
        metavar="FILE",
        help="send the requests of this file (JSON Lines with timestamps) when they came, in place of --rps",
    )
    group.add_argument(
        "--speed", type=positive_number, default=1.0, help="replay a trace so many times as fast (default: 1)"
    )
    add_workload_flags(parser, max_tokens=50)
    add_server_flags(parser)
    add_plot_flag(add_output_flags(parser), "load_test_results.png")


def add_arrival_flags(group: argparse._ArgumentGroup) -> None:
    """Add what says how arrivals are spread."""
    group.add_argument(
        "--arrivals",
        choices=("constant", "poisson", "gamma"),
        default="constant",
        help="evenly spaced; at random, as many users would; or in bursts; --seed fixes chance (default: %(default)s)",
    )
    group.add_argument(
        "--burstiness",
        type=positive_number,
        default=3.0,
        metavar="CV",
        help="of gamma arrivals: standard deviation over mean of the gaps; 1 is poisson, more bursts (default: 3)",
    )


def execute(args: argparse.Namespace) -> int:
    """Run the load test, print the report, and return the exit code: 0, or 1 when a request failed."""
    plan, total = _traced(args) if args.trace else _at_a_rate(args)
    return measure_and_report(args, plan, command=NAME, total=total)


def _at_a_rate(args: argparse.Namespace) -> tuple[BenchmarkPlan, int]:
    from sgl_jax.bench.arrival import arrivals
    from sgl_jax.bench.session import BenchmarkPlan
    from sgl_jax.bench.strategy import ArrivalStrategy

    seconds = args.duration or _DEFAULT_SECONDS
    offsets = list(arrivals(args.arrivals, args.rps, seconds, args.burstiness, args.seed or 0))
    plan = BenchmarkPlan(
        title=f"Starting load test: {seconds:g}s duration, {args.rps:g} requests/second, {args.arrivals} arrivals",
        options=target_options(args),
        workload=chosen_workload(args, "numbered"),
        strategy=ArrivalStrategy(args.arrivals, offsets, {"rate": args.rps}),
        warmup=args.warmup,
        scrape_seconds=args.scrape,
        slo=args.slo,
    )
    return plan, len(offsets)


def _traced(args: argparse.Namespace) -> tuple[BenchmarkPlan, int]:
    from sgl_jax.bench.session import BenchmarkPlan
    from sgl_jax.bench.strategy import ArrivalStrategy
    from sgl_jax.bench.workload.builtin import NumberedQuestion
    from sgl_jax.bench.workload.trace import read_trace

    if args.prompt_file or args.sharegpt or args.jsonl or args.workload or args.input_len or args.output_len:
        raise WorkloadError("--trace brings its own requests: leave the other workload flags out")
    trace = read_trace(args.trace, args.max_tokens, args.seed or 0)
    seconds = args.duration or float("inf")
    offsets = [offset for offset in trace.offsets(args.speed) if offset < seconds]
    plan = BenchmarkPlan(
        title=f"Replaying {len(offsets)} requests of {args.trace} at {args.speed:g} times their speed",
        options=target_options(args),
        workload=trace,
        strategy=ArrivalStrategy("trace", offsets, {"speed": args.speed}),
        warmup=args.warmup,
        warmup_workload=NumberedQuestion(args.max_tokens),
        scrape_seconds=args.scrape,
        slo=args.slo,
    )
    return plan, len(offsets)
