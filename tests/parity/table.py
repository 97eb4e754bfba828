"""The table that ends a run of the parity tests: each golden's largest distance from what transformers says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_HEAD = ("golden", "prompts", "alone", "batched, prefix hit", "prompt log-probs")


def parity_table(properties: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """Markdown lines, from the `parity` properties of passed tests; none if there are none."""
    rows: dict[str, dict[str, Any]] = {}
    for name, value in properties:
        if name == "parity":
            rows.setdefault(value["golden"], {}).update(value)
    if rows:
        yield "| " + " | ".join(_HEAD) + " |"
        yield "|---" * len(_HEAD) + "|"
    for _, row in sorted(rows.items()):
        yield "| " + " | ".join(_cell(row, column) for column in _HEAD) + " |"


def _cell(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column, "")
    if column == "alone":  # the long prompt in a first batch, the short ones in another
        value = max((row[way] for way in ("alone", "again") if way in row), default="")
    if isinstance(value, float):
        return f"{value:.0e}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
