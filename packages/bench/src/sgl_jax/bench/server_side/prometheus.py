"""Prometheus' text format, as much of it as a reader of single numbers needs. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import math
import re

# A label's value may hold any character, `}` among them; quotes and backslashes are escaped.
_SAMPLE = re.compile(r'([A-Za-z_:][\w:]*)(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?\s+(\S+)', re.ASCII)


def parse_metrics(text: str) -> dict[str, float]:
    """Return the value of each metric, summed over its label sets (engines, models); lines of other shapes are skipped.

    A histogram's buckets are among them under `..._bucket`, which a sum makes useless; its `_sum` and `_count` are not.
    """
    values: dict[str, float] = {}
    for line in text.splitlines():
        match = None if line.startswith("#") else _SAMPLE.match(line)
        if match is None:
            continue
        try:
            value = float(match[2])
        except ValueError:
            continue
        if math.isfinite(value):
            values[match[1]] = values.get(match[1], 0.0) + value
    return values
