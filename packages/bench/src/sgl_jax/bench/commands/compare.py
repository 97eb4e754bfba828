"""`sgl-jax-bench compare`: did something change between two sets of runs? Made for CI."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sgl_jax.bench.commands.flags import percentage

if TYPE_CHECKING:
    from sgl_jax.bench.comparison.compare import Comparison
    from sgl_jax.bench.results import Results

NAME = "compare"
HELP = "compare results: exit code 0 when nothing got worse, 1 when something did, 2 when nobody can say"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's flags."""
    sides = "a .json file of run or load, several joined by commas, or a folder of them"
    parser.add_argument("baseline", metavar="BASELINE", help=f"what was: {sides}")
    parser.add_argument("new", metavar="NEW", help="what is: the same")
    parser.add_argument(
        "--fail-if",
        action="append",
        default=[],
        metavar="LIMIT",
        help="fail only for this, as 'ttft_p99 > +10%%' or 'tokens_per_second < -5%%'; repeatable "
        "(default: fail when any measure got worse)",
    )
    parser.add_argument(
        "--measure",
        action="append",
        default=[],
        metavar="NAME",
        help="compare this, as itl_p95, in place of the usual measures; repeatable",
    )
    parser.add_argument(
        "--confidence",
        type=percentage,
        default=0.95,
        metavar="PERCENT",
        help="with which all intervals hold together (default: 95)",
    )
    parser.add_argument(
        "--run-noise",
        type=percentage,
        default=0.03,
        metavar="PERCENT",
        help="by how much runs of the same thing differ here, as far as is known beforehand (default: 3)",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--format", choices=("text", "markdown"), default="text", help="what to print (default: %(default)s)"
    )
    output.add_argument("--markdown", type=Path, metavar="FILE", help="write the comparison as Markdown")
    output.add_argument("--junit", type=Path, metavar="FILE", help="write the outcome as JUnit's XML")
    output.add_argument(
        "--github",
        action="store_true",
        help="print GitHub annotations, and add the comparison to the job's summary",
    )


def execute(args: argparse.Namespace) -> int:
    """Compare, print the outcome, and return the exit code: 0, or 1 when something fails."""
    from sgl_jax.bench.comparison.compare import compare
    from sgl_jax.bench.results import check_writable

    for path in (args.markdown, args.junit):
        if path is not None:
            check_writable(path)
    comparison = compare(
        _side(args.baseline),
        _side(args.new),
        fail_if=args.fail_if,
        measures=args.measure,
        confidence=min(args.confidence, 0.9999),
        run_noise=args.run_noise,
    )
    _present(args, comparison)
    return 0 if comparison.ok else 1


def _present(args: argparse.Namespace, comparison: Comparison) -> None:
    from sgl_jax.bench.report.ci import github_commands, junit_xml
    from sgl_jax.bench.report.comparison_report import comparison_report
    from sgl_jax.bench.report.text import write_text_report
    from sgl_jax.bench.results import write_text

    if args.format == "markdown":
        sys.stdout.write(comparison.to_markdown())
    else:
        write_text_report(comparison_report(comparison), sys.stdout)
    if args.markdown is not None:
        write_text(args.markdown, comparison.to_markdown())
    if args.junit is not None:
        write_text(args.junit, junit_xml(comparison))
    if args.github:
        sys.stdout.writelines(f"{command}\n" for command in github_commands(comparison))
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(comparison.to_markdown())


def _side(text: str) -> list[Results]:
    """Return the results that a side names.

    Raises:
        ResultsError: a file cannot be read.
        CompareError: a folder has none.
    """
    from sgl_jax.bench.errors import CompareError
    from sgl_jax.bench.results import Results

    paths: list[Path] = []
    for name in [text] if Path(text).exists() else text.split(","):
        path = Path(name)
        if path.is_dir():
            found = sorted(path.glob("*.json"))
            if not found:
                raise CompareError(f"there is no .json file in {path}")
            paths += found
        else:
            paths.append(path)
    return [Results.read(path) for path in paths]
