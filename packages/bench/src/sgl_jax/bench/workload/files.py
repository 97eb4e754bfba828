"""Reading the files that workloads come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sgl_jax.bench.errors import WorkloadError


def read_text(path: Path, what: str) -> str:
    """Return the text of a UTF-8 file; `what` names it in errors: "prompt file".

    Raises:
        WorkloadError: the file cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise WorkloadError(f"cannot read {what} {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise WorkloadError(f"{what} {path} is not UTF-8 (byte {error.start}): save it as UTF-8") from error


def read_json(path: Path, what: str) -> Any:
    """Return the value of a JSON file.

    Raises:
        WorkloadError: the file cannot be read, or is not JSON.
    """
    try:
        return json.loads(read_text(path, what))
    except (ValueError, RecursionError) as error:
        raise WorkloadError(f"{what} {path} is not JSON: {error}") from error
