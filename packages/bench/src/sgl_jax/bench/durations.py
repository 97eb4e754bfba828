"""Durations as people write them on a command line: `300ms`, `1.5s`, `2m`, or plain seconds."""

from __future__ import annotations

import re

_UNIT_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
_PATTERN = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(us|ms|s|m|h|)", re.ASCII)


def parse_duration(text: str) -> float:
    """Return the seconds that `text` names.

    Raises:
        ValueError: `text` is not a non-negative number with an optional unit.
    """
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration: write 300ms, 1.5s, 2m, or plain seconds")
    return float(match[1]) * _UNIT_SECONDS[match[2]]


def format_ms(seconds: float) -> str:
    """Return `seconds` in milliseconds with a precision that suits its size, without the unit."""
    milliseconds = seconds * 1e3
    if milliseconds >= 100:
        return f"{milliseconds:,.0f}"
    return f"{milliseconds:.1f}" if milliseconds >= 10 else f"{milliseconds:.2f}"
