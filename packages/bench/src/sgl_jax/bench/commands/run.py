"""`sgl-jax-bench run`: a closed-loop benchmark, the guide's `benchmark.py`."""

from __future__ import annotations

import argparse

from sgl_jax.bench.commands.flags import (
    add_output_flags,
    add_plot_flag,
    add_server_flags,
    add_workload_flags,
    integer,
    target_options,
)
from sgl_jax.bench.commands.measure import measure_and_report
from sgl_jax.bench.commands.workloads import chosen_workload

NAME = "run"
HELP = "closed loop: a fixed number of concurrent requests"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's flags."""
    group = parser.add_argument_group("load")
    group.add_argument("--concurrent", type=integer(1), default=10, help="concurrent requests (default: %(default)s)")
    group.add_argument("--requests", type=integer(1), default=100, help="total requests (default: %(default)s)")
    add_workload_flags(parser, max_tokens=100)
    add_server_flags(parser)
    add_plot_flag(add_output_flags(parser), "benchmark_results.png")


def execute(args: argparse.Namespace) -> int:
    """Run the benchmark, print the report, and return the exit code: 0, or 1 when a request failed."""
    from sgl_jax.bench.session import BenchmarkPlan
    from sgl_jax.bench.strategy import ConcurrentStrategy

    plan = BenchmarkPlan(
        title=f"Starting benchmark with {args.requests} requests, {args.concurrent} concurrent",
        options=target_options(args),
        workload=chosen_workload(args, "questions"),
        strategy=ConcurrentStrategy(args.concurrent, args.requests),
        warmup=args.warmup,
        scrape_seconds=args.scrape,
        slo=args.slo,
    )
    return measure_and_report(args, plan, command=NAME, total=args.requests)
