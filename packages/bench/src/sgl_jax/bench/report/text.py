"""A report as text: plain into a file or a pipe, with a drawn table on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from sgl_jax.bench.report.content import Report, Table


def write_text_report(report: Report, out: TextIO) -> None:
    """Write the report to `out`."""
    out.write(f"\n=== {report.heading} ===\n")
    out.writelines(f"{name}: {value}\n" for name, value in report.rows)
    out.write("\n")
    if out.isatty():
        _draw(report.table, out)
    else:
        out.writelines(line + "\n" for line in plain_table(report.table))
    if report.more:
        out.write("\n")
        out.writelines(f"{name}: {value}\n" for name, value in report.more)
    if report.notes:
        out.write("\n")
        out.writelines(f"note: {sentence}\n" for sentence in report.notes)


def plain_table(table: Table) -> Iterator[str]:
    """Yield the table's lines, in columns of equal width."""
    lines = [table.header, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.header))]
    for line in lines:
        first, *others = line
        cells = [cell.rjust(max(width, 8)) for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *cells])


def _draw(table: Table, out: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(header_style="bold", border_style="dim")
    for position, name in enumerate(table.header):
        drawn.add_column(Text(name), justify="right" if position else "left", no_wrap=True)
    for row in table.rows:
        drawn.add_row(*(Text(cell) for cell in row))
    Console(file=out, soft_wrap=True).print(drawn)
