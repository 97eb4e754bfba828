"""The displays, and which one suits where the output goes."""

from __future__ import annotations

from typing import Protocol, Self, TextIO

from sgl_jax.bench.progress.tally import Tally
from sgl_jax.bench.record import RequestRecord


class ProgressDisplay(Protocol):
    """A context manager around a run; told of every request."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...

    def say(self, line: str) -> None:
        """Show one line."""
        ...

    def on_start(self, record: RequestRecord) -> None:
        """Take note of a request that leaves."""
        ...

    def on_record(self, record: RequestRecord) -> None:
        """Take note of a finished request."""
        ...


def make_progress(total: int | None, out: TextIO, *, quiet: bool) -> ProgressDisplay:
    """Return the display that suits `out`; `total` is the number of requests, None when time decides."""
    if quiet:
        return QuietProgress()
    if not out.isatty():
        return LineProgress(total, out)
    from sgl_jax.bench.progress.live import LiveProgress

    return LiveProgress(total, out)


class QuietProgress:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def say(self, line: str) -> None:
        """Drop the line."""

    def on_start(self, record: RequestRecord) -> None:
        """Drop the record."""

    def on_record(self, record: RequestRecord) -> None:
        """Drop the record."""


class LineProgress:
    """Writes a line at every tenth of the requests, and at least every ten seconds."""

    _EVERY_SECONDS = 10.0

    def __init__(self, total: int | None, out: TextIO) -> None:
        self._total = total
        self._out = out
        self._tally = Tally()
        self._next, self._last = 1.0, 0.0

    def __enter__(self) -> Self:
        self._tally = Tally()
        self._next, self._last = 1.0, 0.0
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def say(self, line: str) -> None:
        """Show one line."""
        self._out.write(line + "\n")
        self._out.flush()

    def on_start(self, record: RequestRecord) -> None:
        """Count the request as running."""
        self._tally.start(record)

    def on_record(self, record: RequestRecord) -> None:
        """Count the record; show a line when it is time for one."""
        tally = self._tally
        tally.finish(record)
        total, elapsed = tally.total(self._total), tally.elapsed
        tenths = 10 * tally.done / total if total else 0.0
        if tenths < self._next and elapsed - self._last < self._EVERY_SECONDS:
            return
        self._next, self._last = float(int(tenths) + 1), elapsed
        speed = tally.tokens / elapsed if elapsed > 0 else 0.0
        done = f"{tally.done}/{total}" if total else f"{tally.done}"
        self.say(f"{done} requests in {elapsed:.1f} s, {speed:,.0f} tok/s, {tally.failed} failed")
