"""A curve in one line of text."""

from __future__ import annotations

from collections.abc import Iterable

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Iterable[float]) -> str:
    """Return one bar a value, from 0 to the largest; an empty string for no values."""
    heights = [max(value, 0.0) for value in values]
    top = max(heights, default=0.0) or 1.0
    return "".join(_BARS[min(int(height / top * len(_BARS)), len(_BARS) - 1)] for height in heights)
