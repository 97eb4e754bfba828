"""Rows of figures as JSON and as a Markdown table, with where they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write(
    output: Path, about: str, source: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], notes: Sequence[str] = ()
) -> str:
    """Writes `output`.json and `output`.md, and returns the latter's text.

    Args:
        about: what the figures mean: a module's docstring.
        source: provenance.
        rows: one a line of the table; what is no plain value is in the JSON only.
        notes: lines below the table.
    """
    names = [name for name, value in rows[0].items() if not isinstance(value, dict)] if rows else []
    text = "\n".join(
        [
            f"# {output.name}",
            "",
            about.strip(),
            "",
            " · ".join(f"{key} {value}" for key, value in source.items()),
            "",
            "| " + " | ".join(names) + " |",
            "|" + "---|" * len(names),
            *("| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows),
            *(part for note in notes for part in ("", note)),
            "",
        ]
    )
    output.parent.mkdir(exist_ok=True, parents=True)
    content = {"provenance": source, "rows": list(rows), "notes": list(notes)}
    output.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
    output.with_suffix(".md").write_text(text)
    return text
