"""How a run shows that it is alive: a bar on a terminal, a few plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import time
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sgl_jax.bench.record import RequestRecord


class ProgressDisplay(Protocol):
    """A context manager around a run; told of every finished request."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...

    def say(self, line: str) -> None:
        """Show one line."""
        ...

    def on_record(self, record: RequestRecord) -> None:
        """Take note of a finished request."""
        ...


def make_progress(total: int | None, out: TextIO, *, quiet: bool) -> ProgressDisplay:
    """Return the display that suits `out`; `total` is the number of requests, None when time decides."""
    if quiet:
        return QuietProgress()
    return BarProgress(total, out) if out.isatty() else LineProgress(total, out)


class QuietProgress:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def say(self, line: str) -> None:
        """Drop the line."""

    def on_record(self, record: RequestRecord) -> None:
        """Drop the record."""


class _Tally:
    """Running totals of what has finished."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self.done = 0
        self.failed = 0
        self.tokens = 0

    def add(self, record: RequestRecord) -> None:
        self.done += 1
        self.failed += not record.ok
        self.tokens += record.output_tokens or 0

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self._start

    def describe(self) -> str:
        rate = self.tokens / self.elapsed if self.elapsed > 0 else 0.0
        return f"{rate:,.0f} tok/s, {self.failed} failed"


class LineProgress:
    """Writes a line at every tenth of the requests, or every ten seconds when their number is open."""

    _EVERY_SECONDS = 10.0

    def __init__(self, total: int | None, out: TextIO) -> None:
        self._total = total
        self._out = out
        self._tally = _Tally()
        self._next = 1.0

    def __enter__(self) -> Self:
        self._tally = _Tally()
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def say(self, line: str) -> None:
        """Show one line."""
        self._out.write(line + "\n")
        self._out.flush()

    def on_record(self, record: RequestRecord) -> None:
        """Count the record; show a line when it is time for one."""
        tally = self._tally
        tally.add(record)
        tenths = 10 * tally.done / self._total if self._total else tally.elapsed / self._EVERY_SECONDS
        if tenths < self._next:
            return
        self._next = float(int(tenths) + 1)
        total = f"/{self._total}" if self._total else ""
        self.say(f"{tally.done}{total} requests in {tally.elapsed:.1f} s, {tally.describe()}")


class BarProgress:
    """A rich progress bar with throughput and failures."""

    def __init__(self, total: int | None, out: TextIO) -> None:
        console = Console(file=out)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[rate]}"),
            console=console,
            # Drawing takes a few milliseconds on the event loop's thread; a few times a second is enough.
            refresh_per_second=4,
        )
        self._task = self._progress.add_task("Requests", total=total, rate="")
        self._tally = _Tally()

    def __enter__(self) -> Self:
        self._tally = _Tally()
        self._progress.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        """Show one line above the bar."""
        self._progress.console.print(line, highlight=False, markup=False)

    def on_record(self, record: RequestRecord) -> None:
        """Count the record and move the bar."""
        self._tally.add(record)
        self._progress.update(self._task, advance=1, rate=self._tally.describe())
