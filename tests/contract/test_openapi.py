"""The HTTP API is what was agreed on: a change of it is a decision, and shows in a diff."""

from __future__ import annotations

import difflib

from tools.openapi_snapshot import SNAPSHOT, current, render


def test_the_api_is_the_snapshots() -> None:
    agreed = SNAPSHOT.read_text(encoding="utf-8").splitlines()
    found = render(current()).splitlines()
    difference = "\n".join(difflib.unified_diff(agreed, found, "agreed", "found", lineterm=""))
    assert not difference, f"If this is what you want: uv run python -m tools.openapi_snapshot\n{difference}"
