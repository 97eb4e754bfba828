"""The table of models in the docs names every architecture and every golden, and no others."""

from __future__ import annotations

import fnmatch
import re

from sgl_jax.engine.models.registry import MODELS
from tests.parity.conftest import GOLDENS, ROOT


def table() -> dict[str, list[str]]:
    """Architecture -> patterns of golden names."""
    text = (ROOT / "docs" / "guides" / "models.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    return {row[0].strip(" `"): re.findall(r"`(.+?)`", row[3]) for row in rows}


def test_all_architectures_are_listed() -> None:
    assert table().keys() == MODELS.keys()


def test_all_goldens_are_listed() -> None:
    patterns = [pattern for listed in table().values() for pattern in listed]
    goldens = [path.stem for path in GOLDENS.glob("*.json") if not path.stem.startswith("smollm2")]
    assert not [name for name in goldens if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]
    assert not [pattern for pattern in patterns if not fnmatch.filter(goldens, pattern)]
