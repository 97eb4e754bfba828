"""`sgl-jax-bench report`: renders the results of an earlier run or sweep anew."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sgl_jax.bench.commands.flags import slo

if TYPE_CHECKING:
    from sgl_jax.bench.report.outputs import Document

NAME = "report"
HELP = "render a results file anew: text, Markdown, CSV, HTML or pictures"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's flags."""
    parser.add_argument("results", type=Path, metavar="RESULTS", help="a .json file of run, load or sweep")
    parser.add_argument(
        "--format",
        choices=("text", "markdown", "csv"),
        default="text",
        help="what to print to standard output (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="write a file instead, in the format of its suffix: .html, .md, .csv, .png, .svg, .pdf, .json; repeatable",
    )
    parser.add_argument(
        "--slo", type=slo, metavar="LIMITS", help="reckon goodput with these objectives instead, as ttft:300ms,itl:50ms"
    )


def execute(args: argparse.Namespace) -> int:
    """Print the report, or write the files; return 0."""
    from sgl_jax.bench.report.markdown import markdown_report
    from sgl_jax.bench.report.outputs import check_outputs, write_output
    from sgl_jax.bench.report.text import write_text_report

    check_outputs(args.output)
    document = _document(args)
    for path in args.output:
        if not write_output(document, path):
            sys.stderr.write(f"sgl-jax-bench: {path} not written: no request succeeded\n")
    if args.output:
        return 0
    if args.format == "csv":
        sys.stdout.write(document.to_csv())
    elif args.format == "markdown":
        sys.stdout.write(markdown_report(document.report()))
    else:
        write_text_report(document.report(), sys.stdout)
    return 0


def _document(args: argparse.Namespace) -> Document:
    from dataclasses import replace

    from sgl_jax.bench.errors import ResultsError
    from sgl_jax.bench.report.run_document import RunDocument
    from sgl_jax.bench.report.sweep_document import SweepDocument
    from sgl_jax.bench.results import Results, read_document
    from sgl_jax.bench.sweep.results import SweepResults

    document = read_document(args.results)
    if "levels" not in document:
        results = Results.from_document(document, args.results)
        return RunDocument(results if args.slo is None else replace(results, slo=args.slo))
    if args.slo is not None:
        raise ResultsError("a sweep keeps no single requests: give --slo to the sweep itself")
    return SweepDocument(SweepResults.from_document(document, args.results))
