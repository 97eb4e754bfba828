"""Fixtures for the tests of the repository itself."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def check_files() -> ModuleType:
    """`tools/check_files.py` as a module; `tools/` is no package."""
    spec = importlib.util.spec_from_file_location("check_files", ROOT / "tools" / "check_files.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
