"""What every measuring subcommand does once it knows its plan: carry it out, write files, print the report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sgl_jax.bench.commands.flags import public_flags

if TYPE_CHECKING:
    from sgl_jax.bench.report.outputs import Document
    from sgl_jax.bench.session import BenchmarkPlan


def measure_and_report(args: argparse.Namespace, plan: BenchmarkPlan, *, command: str, total: int | None) -> int:
    """Carry out `plan` and report it.

    Args:
        args: parsed flags; `output`, `plot` and `quiet` are used, all go into the results file.
        plan: what to do.
        command: the subcommand's name.
        total: how many requests there will be; None when that is open.

    Returns:
        The exit code: 0, or 1 when a request failed.

    Raises:
        BenchError: nothing could be measured, or the results could not be written.
    """
    from sgl_jax.bench.progress.display import make_progress
    from sgl_jax.bench.report.outputs import check_outputs
    from sgl_jax.bench.report.run_document import RunDocument
    from sgl_jax.bench.session import carry_out

    outputs = [*args.output, *([args.plot] if args.plot else [])]
    check_outputs(outputs)
    progress = make_progress(total, sys.stderr, quiet=args.quiet)
    results = carry_out(plan, progress, command, public_flags(args))
    present(RunDocument(results), outputs)
    return 1 if results.summary.failed_requests else 0


def present(document: Document, outputs: Iterable[Path]) -> None:
    """Print the report to standard output, and write the files.

    Raises:
        ResultsError: a file cannot be written.
    """
    from sgl_jax.bench.report.outputs import PICTURES, write_output
    from sgl_jax.bench.report.text import write_text_report

    write_text_report(document.report(), sys.stdout)
    for path in outputs:
        written = write_output(document, path)
        if not written:
            sys.stdout.write("Nothing to plot: no request succeeded\n")
        elif path.suffix.lower() in PICTURES:
            sys.stdout.write(f"Plot saved to {path}\n")
