"""A run over time: how many requests were under way, and how many tokens came, in each moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sgl_jax.bench.record import RequestRecord
from sgl_jax.bench.runner import RunResult

MAX_BINS = 240
"""So many points draw a smooth curve, and hold a long run in a small file."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Means over equal spans of a run.

    Attributes:
        step: seconds of one span.
        concurrency: requests under way.
        tokens_per_second: output tokens; a chunk counts as its share of its request's tokens.
    """

    step: float
    concurrency: list[float]
    tokens_per_second: list[float]

    def to_json(self) -> dict[str, Any]:
        """Return the timeline as plain JSON values."""
        return asdict(self)


def timeline(result: RunResult) -> Timeline:
    """Return the run in spans of a second, or shorter and longer ones for short and long runs."""
    bins = min(MAX_BINS, max(10, round(result.duration)))
    step = result.duration / bins or 1.0
    concurrency = [0.0] * bins
    tokens = [0.0] * bins
    for record in result.records:
        _add_span(concurrency, (record.sent - result.origin) / step, (record.end - result.origin) / step)
        share = (record.output_tokens or 0) / len(record.chunk_times) if record.ok and record.chunk_times else 0.0
        for moment in record.chunk_times:
            tokens[min(max(int((moment - result.origin) / step), 0), bins - 1)] += share
    return Timeline(step, [round(value, 3) for value in concurrency], [round(value / step, 2) for value in tokens])


def concurrency_steps(records: Sequence[RequestRecord]) -> list[tuple[float, int]]:
    """Return when the number of requests under way changes, in order, and to what."""
    changes = [(record.sent, 1) for record in records] + [(record.end, -1) for record in records]
    # An answer that ends in the moment in which another request leaves does not overlap it.
    changes.sort()
    running, steps = 0, []
    for moment, change in changes:
        running += change
        steps.append((moment, running))
    return steps


def _add_span(bins: list[float], start: float, end: float) -> None:
    """Add to each bin the part of it that lies between `start` and `end`, both in bins."""
    first = min(max(int(start), 0), len(bins) - 1)
    last = min(max(int(end), 0), len(bins) - 1)
    for position in range(first, last + 1):
        bins[position] += max(min(end, position + 1.0) - max(start, float(position)), 0.0)
