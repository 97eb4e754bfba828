"""Pictures of a run. The guide's two come first: response time over time, and its distribution."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from sgl_jax.bench.errors import ResultsError
from sgl_jax.bench.record import RequestRecord
from sgl_jax.bench.runner import RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_run(result: RunResult, path: Path) -> bool:
    """Draw the run to `path`, in the format of its suffix; False when there is nothing to draw.

    Raises:
        ResultsError: the file cannot be written, or its suffix names no picture.
    """
    records = sorted((record for record in result.records if record.ok), key=lambda record: record.start)
    if not records:
        return False
    # A Figure of one's own and not pyplot: no global state, no display, no window system to guess.
    figure = Figure(figsize=(14, 9), layout="constrained")
    axes = figure.subplots(2, 2)
    _response_times(axes[0, 0], records, result.origin)
    _histogram(axes[0, 1], records)
    _cumulative(axes[1, 0], records)
    _throughput(axes[1, 1], records, result)
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise ResultsError(f"cannot write the plot {path}: {error}") from error
    return True


def _response_times(axes: Axes, records: Sequence[RequestRecord], origin: float) -> None:
    starts = [record.start - origin for record in records]
    axes.plot(starts, [record.e2e for record in records], "b.-", alpha=0.7, linewidth=0.8)
    axes.set(title="Response Time Over Time", xlabel="Time (s)", ylabel="Response Time (s)", ylim=(0, None))
    axes.grid(visible=True)


def _histogram(axes: Axes, records: Sequence[RequestRecord]) -> None:
    axes.hist([record.e2e for record in records], bins=50, alpha=0.7, color="green")
    axes.set(title="Response Time Distribution", xlabel="Response Time (s)", ylabel="Frequency")
    axes.grid(visible=True)


def _cumulative(axes: Axes, records: Sequence[RequestRecord]) -> None:
    series = {
        "TTFT": [record.ttft for record in records if record.ttft is not None],
        "ITL": [gap for record in records for gap in record.gaps],
    }
    for name, values in series.items():
        if values:
            axes.ecdf([value * 1e3 for value in values], label=name)
    axes.set(title="TTFT and ITL, Cumulative", xlabel="Latency (ms)", ylabel="Share at or below")
    axes.grid(visible=True)
    if any(series.values()):
        axes.legend()


def _throughput(axes: Axes, records: Sequence[RequestRecord], result: RunResult) -> None:
    """Tokens a second, in bins of about a second; a chunk counts as its share of the request's tokens."""
    bins = max(1, round(result.duration))
    width = result.duration / bins or 1.0
    times = [moment - result.origin for record in records for moment in record.chunk_times]
    weights = [
        (record.output_tokens or 0) / len(record.chunk_times) / width for record in records for _ in record.chunk_times
    ]
    axes.hist(times, bins=bins, range=(0.0, width * bins), weights=weights, alpha=0.7)
    axes.set(title="Throughput Over Time", xlabel="Time (s)", ylabel="Output tokens per second")
    axes.grid(visible=True)
