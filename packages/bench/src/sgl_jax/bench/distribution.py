"""A set of durations in a few numbers.

In plain Python, because importing numpy takes longer than sorting what a usual run measures.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True)
class Distribution:
    """A set of values, durations in seconds unless told otherwise; `percentiles` maps `p50`-like names to values."""

    count: int
    mean: float
    min: float
    max: float
    percentiles: dict[str, float]

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Self | None:
        """Return the distribution of the values that are not None; None when there are none."""
        present = sorted(value for value in values if value is not None)
        if not present:
            return None
        return cls(
            count=len(present),
            mean=math.fsum(present) / len(present),
            min=present[0],
            max=present[-1],
            percentiles={f"p{p:g}": percentile(present, p) for p in PERCENTILES},
        )


def percentile(ascending: Sequence[float], p: float) -> float:
    """Return the `p`-th percentile of sorted values: linear between the two nearest, as numpy's default.

    Args:
        ascending: at least one value.
        p: 0 to 100.
    """
    position = (len(ascending) - 1) * p / 100
    below = min(int(position), len(ascending) - 1)
    above = min(below + 1, len(ascending) - 1)
    low, high = ascending[below], ascending[above]
    return low + (high - low) * (position - below)
