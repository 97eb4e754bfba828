"""A report as one HTML file that needs nothing else: no script, no style, no font, no picture from another host."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from typing import Any

from sgl_jax.bench.report.content import Report, Row, Table

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #8884; text-align: right; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
.note { border-left: 3px solid #c80; padding-left: .8rem; }
img { max-width: 100%; background: #fff; border-radius: 4px; }
pre { overflow-x: auto; background: #8881; padding: 1rem; }
"""


def html_report(report: Report, picture: bytes | None, provenance: dict[str, Any]) -> str:
    """Return the report as a page.

    Args:
        report: what it says.
        picture: an SVG; None where there is nothing to draw.
        provenance: where the numbers come from; shown on request.
    """
    heading = escape(report.heading)
    source = escape(json.dumps(provenance, indent=2))
    body = [
        f"<h1>{heading}</h1>",
        _rows(report.rows),
        _table(report.table),
        _rows(report.more),
        *(f'<p class="note">{escape(sentence)}</p>' for sentence in report.notes),
        _picture(picture, heading),
        f"<details><summary>Where these numbers come from</summary><pre>{source}</pre></details>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{heading}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def _picture(svg: bytes | None, title: str) -> str:
    if svg is None:
        return ""
    return f'<img alt="Plots: {title}" src="data:image/svg+xml;base64,{b64encode(svg).decode()}">'


def _rows(rows: Sequence[Row]) -> str:
    lines = [f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows]
    return f"<table>{''.join(lines)}</table>" if lines else ""


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.header)
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in table.rows]
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
