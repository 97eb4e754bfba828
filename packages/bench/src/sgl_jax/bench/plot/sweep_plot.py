"""Pictures of a sweep: what a server gives at each level, and what that costs in latency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sgl_jax.bench.distribution import Distribution
from sgl_jax.bench.plot.canvas import new_sheet, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sgl_jax.bench.sweep.results import Level, SweepResults


def draw_sweep(sweep: SweepResults, kind: str) -> bytes | None:
    """Return the sweep's picture as `png`, `svg` or `pdf`; None when no level has a latency."""
    levels = [level for level in sweep.levels if level.summary.ttft is not None]
    if not levels:
        return None
    figure, axes = new_sheet(columns=3, rows=1)
    _throughput(axes[0], levels, sweep.unit)
    _latency(axes[1], levels, "TTFT", [level.summary.ttft for level in levels])
    _latency(axes[2], levels, "ITL", [level.summary.itl for level in levels])
    return render(figure, kind)


def _throughput(axes: Axes, levels: Sequence[Level], unit: str) -> None:
    axes.plot([level.value for level in levels], [level.summary.tokens_per_second for level in levels], "o-")
    if any(level.summary.goodput for level in levels):
        good = [level.summary.goodput.tokens_per_second if level.summary.goodput else 0.0 for level in levels]
        axes.plot([level.value for level in levels], good, "o--", label="within the objectives")
        axes.legend()
    axes.set(title="Throughput", xlabel=unit.capitalize(), ylabel="Output tokens per second", ylim=(0, None))


def _latency(axes: Axes, levels: Sequence[Level], name: str, distributions: Sequence[Distribution | None]) -> None:
    for key in ("p50", "p99"):
        points = [
            (level.summary.tokens_per_second, distribution.percentiles[key] * 1e3, level.value)
            for level, distribution in zip(levels, distributions, strict=True)
            if distribution is not None
        ]
        axes.plot([x for x, _, _ in points], [y for _, y, _ in points], "o-", label=key)
        if key == "p50":
            for x, y, value in points:
                axes.annotate(f"{value:g}", (x, y), textcoords="offset points", xytext=(4, 4), fontsize="small")
    axes.set(
        title=f"{name} Against Throughput", xlabel="Output tokens per second", ylabel=f"{name} (ms)", ylim=(0, None)
    )
    axes.legend()
