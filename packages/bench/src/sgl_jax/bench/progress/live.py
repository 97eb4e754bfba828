"""A live table with a progress bar and a curve of the throughput, for a terminal."""

from __future__ import annotations

import sys
from collections import deque
from typing import Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sgl_jax.bench.distribution import Distribution
from sgl_jax.bench.durations import format_ms
from sgl_jax.bench.progress.sparkline import sparkline
from sgl_jax.bench.progress.tally import Tally
from sgl_jax.bench.record import RequestRecord

_DRAWINGS_PER_SECOND = 4
"""Drawing takes a few milliseconds, in which the event loop waits for the interpreter; this is often enough."""

_CURVE_POINTS = 60
_CURVE_STEP = 0.5


class LiveProgress:
    """Draws from a thread of its own, so that the event loop only counts.

    Args:
        total: the number of requests; None when it is open.
        out: a terminal.
    """

    def __init__(self, total: int | None, out: TextIO) -> None:
        self._console = Console(file=out)
        self._total = total
        self._tally = Tally()
        self._curve: deque[float] = deque(maxlen=_CURVE_POINTS)
        self._last = (0.0, 0)
        self._bar = Progress(TextColumn("Requests"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._task = self._bar.add_task("", total=total)
        self._switch_interval = sys.getswitchinterval()
        self._live = self._make_live()

    def _make_live(self) -> Live:
        return Live(
            console=self._console, get_renderable=self._draw, refresh_per_second=_DRAWINGS_PER_SECOND, transient=True
        )

    def __enter__(self) -> Self:
        self._tally, self._last = Tally(), (0.0, 0)
        self._curve.clear()
        self._bar.reset(self._task, total=self._total)
        self._live = self._make_live()
        # The drawing thread gives the interpreter back to the event loop after so many seconds, not after 5 ms.
        self._switch_interval = sys.getswitchinterval()
        sys.setswitchinterval(0.0005)
        self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()
        sys.setswitchinterval(self._switch_interval)

    def say(self, line: str) -> None:
        """Show one line above the table."""
        self._console.print(line, highlight=False, markup=False)

    def on_start(self, record: RequestRecord) -> None:
        """Count the request as running."""
        self._tally.start(record)

    def on_record(self, record: RequestRecord) -> None:
        """Count the finished request."""
        self._tally.finish(record)

    def _draw(self) -> RenderableType:
        tally = self._tally
        self._bar.update(self._task, completed=tally.done, total=tally.total(self._total))
        elapsed, chunks = tally.elapsed, tally.chunks
        since, before = self._last
        if elapsed - since >= _CURVE_STEP:
            self._curve.append((chunks - before) / (elapsed - since))
            self._last = (elapsed, chunks)
        recent = list(tally.recent)
        table = Table.grid(padding=(0, 2))
        speed = self._curve[-1] if self._curve else 0.0
        table.add_row("Running", f"{tally.running}", "Failed", f"{tally.failed}")
        table.add_row("Requests/s", f"{tally.done / elapsed if elapsed else 0:.2f}", "Chunks/s", f"{speed:,.0f}")
        table.add_row(*_latency("TTFT", [record.ttft for record in recent]))
        table.add_row(*_latency("ITL", [gap for record in recent for gap in record.gaps[:10]]))
        table.add_row(*_latency("E2E", [record.e2e for record in recent]))
        return Group(self._bar, table, f"Chunks/s    {sparkline(self._curve)}")


def _latency(name: str, values: list[float | None] | list[float]) -> tuple[str, str, str, str]:
    """Return a row of a recent latency's median and 99th percentile."""
    distribution = Distribution.of(values)
    if distribution is None:
        return f"{name} p50", "-", f"{name} p99", "-"
    percentiles = distribution.percentiles
    return f"{name} p50", f"{format_ms(percentiles['p50'])} ms", f"{name} p99", f"{format_ms(percentiles['p99'])} ms"
