"""`sgl-jax-bench run`: a closed-loop benchmark, the guide's `benchmark.py`."""

from __future__ import annotations

import argparse

from sgl_jax.bench.commands.flags import (
    add_output_flags,
    add_prompt_flags,
    add_server_flags,
    integer,
    target_options,
)
from sgl_jax.bench.commands.measure import measure_and_report, prompt_workload

NAME = "run"
HELP = "closed loop: a fixed number of concurrent requests"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's flags."""
    group = parser.add_argument_group("load")
    group.add_argument("--concurrent", type=integer(1), default=10, help="concurrent requests (default: %(default)s)")
    group.add_argument("--requests", type=integer(1), default=100, help="total requests (default: %(default)s)")
    add_prompt_flags(parser, max_tokens=100)
    add_server_flags(parser)
    add_output_flags(parser)


def execute(args: argparse.Namespace) -> int:
    """Run the benchmark, print the report, and return the exit code: 0, or 1 when a request failed."""
    from sgl_jax.bench.report import benchmark_rows
    from sgl_jax.bench.session import BenchmarkPlan
    from sgl_jax.bench.strategy import ConcurrentStrategy
    from sgl_jax.bench.workload.builtin import builtin_questions

    plan = BenchmarkPlan(
        title=f"Starting benchmark with {args.requests} requests, {args.concurrent} concurrent",
        options=target_options(args),
        workload=prompt_workload(args, builtin_questions),
        strategy=ConcurrentStrategy(args.concurrent),
        limit=args.requests,
        warmup=args.warmup,
    )
    _, code = measure_and_report(
        args, plan, command=NAME, total=args.requests, heading="Benchmark Results", rows=benchmark_rows
    )
    return code
