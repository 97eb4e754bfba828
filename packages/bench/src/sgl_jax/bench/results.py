"""The results file: one JSON document with where the numbers come from, the numbers, and the raw records."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sgl_jax.bench.errors import ResultsError
from sgl_jax.bench.metrics import Summary
from sgl_jax.bench.runner import RunResult

SCHEMA = "sgl-jax-bench/1"
"""Changes when a reader of the old form would misread the new one."""


def check_writable(path: Path) -> None:
    """Fail before the run rather than after it.

    Raises:
        ResultsError: a file at `path` could not be written.
    """
    if path.is_dir():
        raise ResultsError(f"cannot write to {path}, it is a folder: name a file in it")
    if not path.parent.is_dir():
        raise ResultsError(f"cannot write to {path}: there is no folder {path.parent}; make it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ResultsError(f"cannot write to {path}: no permission")


def results_document(
    provenance: dict[str, Any], workload: str, strategy: dict[str, Any], result: RunResult, summary: Summary
) -> dict[str, Any]:
    """Return the whole document as plain JSON values; times in seconds since the start of the run."""
    return {
        "schema": SCHEMA,
        "provenance": provenance,
        "started_at": datetime.fromtimestamp(result.started_at, UTC).isoformat(timespec="milliseconds"),
        "workload": workload,
        "strategy": strategy,
        "summary": summary.to_json(),
        "requests": [record.to_json(result.origin) for record in sorted(result.records, key=lambda r: r.index)],
    }


def write_results(path: Path, document: dict[str, Any]) -> None:
    """Write the document, replacing an older file only when the new one is complete.

    Raises:
        ResultsError: the disk is full, or the folder went away.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ResultsError(f"cannot write {path}: {error.strerror or error}") from error
