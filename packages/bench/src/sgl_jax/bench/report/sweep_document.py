"""A sweep as something to read and to write to files."""

from __future__ import annotations

import csv
from io import StringIO
from typing import Any

from sgl_jax.bench.distribution import Distribution
from sgl_jax.bench.durations import format_ms
from sgl_jax.bench.report.content import Report, Table
from sgl_jax.bench.sweep.results import Level, SweepResults

_LATENCIES = ("ttft", "itl", "tpot", "e2e")
_PERCENTILES = ("p50", "p99")


class SweepDocument:
    """The document of one sweep."""

    def __init__(self, sweep: SweepResults) -> None:
        self._sweep = sweep

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the numbers come from."""
        return self._sweep.provenance

    def report(self) -> Report:
        """What there is to say."""
        sweep = self._sweep
        best = "no level keeps the objectives" if sweep.best is None else f"{sweep.best:g} {sweep.unit}"
        return Report(
            heading="Sweep Results",
            rows=[("Workload", sweep.workload), ("Best Level", best), ("Stopped Because", sweep.stopped)],
            table=_table(sweep),
            more=[],
            notes=list(_notes(sweep)),
        )

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain JSON values."""
        return self._sweep.to_json()

    def to_csv(self) -> str:
        """A row for each level; times in seconds."""
        out = StringIO()
        writer = csv.writer(out, lineterminator="\n")
        names = [f"{latency}_{key}" for latency in _LATENCIES for key in _PERCENTILES]
        rates = ["tokens_per_second", "requests_per_second", "success_rate"]
        writer.writerow(["level", *rates, "good_share", *names])
        for level in self._sweep.levels:
            summary = level.summary
            latencies = [_value(getattr(summary, latency), key) for latency in _LATENCIES for key in _PERCENTILES]
            good = summary.goodput.share if summary.goodput is not None else None
            writer.writerow([level.value, *(getattr(summary, rate) for rate in rates), good, *latencies])
        return out.getvalue()

    def draw(self, kind: str) -> bytes | None:
        """A picture in the format `png`, `svg` or `pdf`; None when no level has a latency."""
        from sgl_jax.bench.plot.sweep_plot import draw_sweep

        return draw_sweep(self._sweep, kind)


def _table(sweep: SweepResults) -> Table:
    header = [
        sweep.unit.capitalize(),
        "tok/s",
        "req/s",
        "good %",
        *(f"{latency.upper()} {key}" for latency in ("ttft", "itl", "e2e") for key in _PERCENTILES),
    ]
    return Table(header, [_row(level) for level in sweep.levels])


def _row(level: Level) -> list[str]:
    summary = level.summary
    good = summary.goodput.share if summary.goodput is not None else summary.success_rate
    cells = [
        f"{level.value:g}",
        f"{summary.tokens_per_second:,.1f}",
        f"{summary.requests_per_second:.2f}",
        f"{good:.1f}",
    ]
    for distribution in (summary.ttft, summary.itl, summary.e2e):
        for key in _PERCENTILES:
            value = _value(distribution, key)
            cells.append("-" if value is None else format_ms(value))
    return cells


def _value(distribution: Distribution | None, key: str) -> float | None:
    return None if distribution is None else distribution.percentiles[key]


def _notes(sweep: SweepResults) -> list[str]:
    sentences = ["Latencies are in milliseconds."]
    failures = sum(level.summary.failed_requests for level in sweep.levels)
    if failures:
        first = next(level.summary.first_failure for level in sweep.levels if level.summary.first_failure)
        sentences.append(f"{failures} requests failed. The first said: {first}")
    lags = [level.summary.lag.percentiles["p50"] for level in sweep.levels if level.summary.lag is not None]
    if max(lags, default=0.0) > 0.005:
        sentences.append(
            f"The tester itself ran up to {format_ms(max(lags))} ms late at the median: it was short of CPU, and "
            "latencies are too high by about as much."
        )
    return sentences
