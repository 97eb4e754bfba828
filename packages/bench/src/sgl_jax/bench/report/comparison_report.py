"""What is to say about a comparison."""

from __future__ import annotations

from collections.abc import Iterator

from sgl_jax.bench.comparison.compare import Comparison, Row, Verdict
from sgl_jax.bench.comparison.measures import Measure
from sgl_jax.bench.durations import format_ms
from sgl_jax.bench.report.content import Report, Table


def comparison_report(comparison: Comparison) -> Report:
    """Return the report of a comparison; a row's interval is that of the change."""
    before, after = comparison.runs
    return Report(
        heading="Comparison",
        rows=[("Runs", f"{before} of the baseline, {after} new"), ("Verdict", verdict(comparison))],
        table=Table(
            ["Measure", "baseline", "new", "change", "interval", "limit", "verdict"],
            [_cells(row) for row in comparison.rows],
        ),
        more=[],
        notes=list(_notes(comparison)),
    )


def verdict(comparison: Comparison) -> str:
    """Return the comparison's outcome as a phrase."""
    if comparison.failures:
        names = ", ".join(row.measure.name for row in comparison.failures)
        return f"{names}: {'beyond the limit' if comparison.gated else 'worse'}"
    if all(row.verdict in (Verdict.SAME, Verdict.UNKNOWN) for row in comparison.rows):
        return "no difference found"
    return "no limit is broken" if comparison.gated else "nothing got worse"


def failure(row: Row) -> str:
    """Return what is wrong with a row that fails, as a sentence."""
    limit = "" if row.threshold is None else f", and the limit is {row.threshold}"
    return (
        f"{row.measure.name} went from {_value(row.measure, row.baseline)} to {_value(row.measure, row.new)}: "
        f"{_change(row)} ({_interval(row)}){limit}."
    )


def _cells(row: Row) -> list[str]:
    limit = "" if row.threshold is None else str(row.threshold).removeprefix(row.measure.name).strip()
    said = "beyond the limit" if row.broken else str(row.verdict)
    return [
        row.measure.name,
        _value(row.measure, row.baseline),
        _value(row.measure, row.new),
        _change(row),
        _interval(row),
        limit,
        said,
    ]


def _value(measure: Measure, value: float) -> str:
    if measure.statistic:
        return f"{format_ms(value)} ms"
    return f"{value:.2f}%" if measure.quantity == "success_rate" else f"{value:,.2f}/s"


def _change(row: Row) -> str:
    return f"{100 * (row.new / row.baseline - 1):+.1f}%" if row.baseline else "-"


def _interval(row: Row) -> str:
    if row.interval is None:
        return "-"
    return f"{100 * (row.interval.low - 1):+.1f}% to {100 * (row.interval.high - 1):+.1f}%"


def _notes(comparison: Comparison) -> Iterator[str]:
    yield (
        f"All intervals hold together with {100 * comparison.confidence:g}% confidence. One that holds 0% means that "
        "no difference was found, not that there is none."
    )
    if min(comparison.runs) == 1:
        yield (
            f"A side with one run cannot tell how much runs differ by themselves; {100 * comparison.run_noise:g}% was "
            "assumed. Three runs a side, in turn, are surer."
        )
    for difference in comparison.differences:
        yield f"The sides were not measured alike: {difference}."
    unknown = [row.measure for row in comparison.rows if row.verdict is Verdict.UNKNOWN]
    if unknown:
        needs = ", ".join(f"{measure.name} {measure.values_needed}" for measure in unknown)
        yield f"Too few values a side; they take at least: {needs}."
