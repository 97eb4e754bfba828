"""A report as GitHub's Markdown, for a pull request or a job's summary."""

from __future__ import annotations

from sgl_jax.bench.report.content import Report, Table


def markdown_report(report: Report) -> str:
    """Return the report as Markdown."""
    parts = [
        f"## {report.heading}",
        markdown_table(Table(["", ""], report.rows)) if report.rows else "",
        markdown_table(report.table),
        "\n".join(f"- {_escaped(name)}: {_escaped(value)}" for name, value in report.more),
        "\n".join(f"> {_escaped(sentence)}" for sentence in report.notes),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(table: Table) -> str:
    """Return the table as Markdown."""
    lines = [
        "| " + " | ".join(map(_escaped, table.header)) + " |",
        "|---|" + "---:|" * (len(table.header) - 1),
        *("| " + " | ".join(map(_escaped, row)) + " |" for row in table.rows),
    ]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    for character in "\\|<>*_[]`":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())
