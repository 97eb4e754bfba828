"""The levels of a sweep, as people write them."""

from __future__ import annotations

from itertools import pairwise

MAX_LEVELS = 64


def parse_levels(text: str) -> tuple[float, ...]:
    """Return the levels that `1,2,4,8` (these) or `1:64` (doubling from 1 up to 64) names, ascending.

    Raises:
        ValueError: it is of neither form, or not ascending.
    """
    try:
        if ":" in text:
            first, last = (float(part) for part in text.split(":"))
            levels = [first]
            while 0 < levels[-1] * 2 < last and len(levels) < MAX_LEVELS:
                levels.append(levels[-1] * 2)
            if last > first:
                levels.append(last)
        else:
            levels = [float(part) for part in text.split(",")]
            last = levels[-1]
    except ValueError:
        levels, last = [], 0.0
    ascending = all(low < high for low, high in pairwise(levels))
    if not levels or not ascending or not 0 < levels[0] <= levels[-1] == last < float("inf"):
        raise ValueError(f"{text!r} are no levels: write 1,2,4,8 or, to double from 1 up to 64, 1:64")
    return tuple(levels)
