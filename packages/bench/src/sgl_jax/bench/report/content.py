"""What a report says, before anybody decides how it looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Row = tuple[str, str]
"""A name and its value."""


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; the first column is left-aligned, the others right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Report:
    """One report.

    Attributes:
        heading: its title.
        rows: the numbers that come first.
        table: the latencies, or the levels of a sweep.
        more: further numbers.
        notes: what the reader should know, a sentence each.
    """

    heading: str
    rows: Sequence[Row]
    table: Table
    more: Sequence[Row]
    notes: Sequence[str]
