"""Pictures of a run. The guide's two come first: response time over time, and its distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sgl_jax.bench.distribution import percentile
from sgl_jax.bench.plot.canvas import new_sheet, render
from sgl_jax.bench.record import RequestRecord
from sgl_jax.bench.results import Results
from sgl_jax.bench.timeline import Timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MANY = 1000
"""More points than this are drawn as pixels, or thinned out: nobody sees them apart."""


def draw_run(results: Results, kind: str) -> bytes | None:
    """Return the run's picture as `png`, `svg` or `pdf`; None when no request succeeded."""
    run = results.run
    records = sorted((record for record in run.records if record.ok), key=lambda record: record.start)
    if not records:
        return None
    figure, (first, second, third, fourth) = new_sheet(columns=2, rows=2)
    _response_times(first, records, run.origin)
    _histogram(second, records)
    _cumulative(third, records)
    _throughput(fourth, results.timeline)
    return render(figure, kind)


def _response_times(axes: Axes, records: Sequence[RequestRecord], origin: float) -> None:
    starts = [record.start - origin for record in records]
    many = len(records) > _MANY
    axes.plot(starts, [record.e2e for record in records], "b.-", alpha=0.7, linewidth=0.8, rasterized=many)
    axes.set(title="Response Time Over Time", xlabel="Time (s)", ylabel="Response Time (s)", ylim=(0, None))


def _histogram(axes: Axes, records: Sequence[RequestRecord]) -> None:
    counts, edges = np.histogram([record.e2e for record in records], bins=50)
    axes.stairs(counts, edges, fill=True, alpha=0.7, color="green")
    axes.set(title="Response Time Distribution", xlabel="Response Time (s)", ylabel="Frequency")


def _cumulative(axes: Axes, records: Sequence[RequestRecord]) -> None:
    series = {
        "TTFT": [record.ttft for record in records if record.ttft is not None],
        "ITL": [gap for record in records for gap in record.gaps],
    }
    for name, values in series.items():
        if values:
            axes.ecdf([value * 1e3 for value in _thinned(sorted(values))], label=name)
    axes.set(title="TTFT and ITL, Cumulative", xlabel="Latency (ms)", ylabel="Share at or below")
    if any(series.values()):
        axes.legend()


def _throughput(axes: Axes, timeline: Timeline) -> None:
    edges = [position * timeline.step for position in range(len(timeline.concurrency) + 1)]
    axes.stairs(timeline.tokens_per_second, edges, fill=True, alpha=0.6)
    axes.set(title="Throughput and Concurrency Over Time", xlabel="Time (s)", ylabel="Output tokens per second")
    other = axes.twinx()
    other.stairs(timeline.concurrency, edges, color="tab:red", baseline=None)
    other.set(ylabel="Requests under way", ylim=(0, None))
    other.yaxis.label.set_color("tab:red")


def _thinned(ascending: Sequence[float]) -> Sequence[float]:
    """Return at most `_MANY` of the values, evenly from the smallest to the largest."""
    if len(ascending) <= _MANY:
        return ascending
    return [percentile(ascending, 100 * position / (_MANY - 1)) for position in range(_MANY)]
