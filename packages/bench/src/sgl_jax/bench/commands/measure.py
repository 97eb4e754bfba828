"""What every measuring subcommand does once it knows its plan: carry it out, write results, print the report."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sgl_jax.bench.commands.flags import public_flags

if TYPE_CHECKING:
    from sgl_jax.bench.metrics import Summary
    from sgl_jax.bench.report import Row
    from sgl_jax.bench.runner import RunResult
    from sgl_jax.bench.session import BenchmarkPlan
    from sgl_jax.bench.workload.base import Workload


def measure_and_report(
    args: argparse.Namespace,
    plan: BenchmarkPlan,
    *,
    command: str,
    total: int | None,
    heading: str,
    rows: Callable[[Summary], Sequence[Row]],
) -> tuple[RunResult, int]:
    """Carry out `plan` and report it.

    Args:
        args: parsed flags; `output` and `quiet` are used, all go into the results file.
        plan: what to do.
        command: the subcommand's name.
        total: how many requests there will be; None when that is open.
        heading: the report's title.
        rows: makes the report's first rows.

    Returns:
        The run, and the exit code: 0, or 1 when a request failed.

    Raises:
        BenchError: nothing could be measured, or the results could not be written.
    """
    # Imported here, because pandas takes longer to import than `--help` may take.
    from sgl_jax.bench.metrics import summarize
    from sgl_jax.bench.progress import make_progress
    from sgl_jax.bench.provenance import collect_provenance
    from sgl_jax.bench.report import write_report
    from sgl_jax.bench.results import check_writable, results_document, write_results
    from sgl_jax.bench.session import carry_out

    if args.output is not None:
        check_writable(args.output)
    progress = make_progress(total, sys.stderr, quiet=args.quiet)
    measurement = asyncio.run(carry_out(plan, progress))
    result = measurement.result
    summary = summarize(result)
    write_report(heading, rows(summary), summary, sys.stdout)
    if args.output is not None:
        provenance = collect_provenance(command, public_flags(args), measurement.server)
        document = results_document(provenance, plan.workload.name, plan.strategy.describe(), result, summary)
        write_results(args.output, document)
    return result, 1 if summary.failed_requests else 0


def prompt_workload(args: argparse.Namespace, builtin: Callable[[int], Workload]) -> Workload:
    """Return the prompts of `--prompt-file`, or else the built-in ones.

    Raises:
        WorkloadError: the file cannot be used.
    """
    from sgl_jax.bench.workload.prompt_file import read_prompt_file

    if args.prompt_file is None:
        return builtin(args.max_tokens)
    return read_prompt_file(args.prompt_file, args.max_tokens)
