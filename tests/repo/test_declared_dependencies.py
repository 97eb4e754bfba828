"""A package imports only what its own pyproject.toml declares, not what happens to be installed beside it."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]

# distributions whose public interface is made of another one
SPEAKS_FOR = {"fastapi": {"starlette"}, "jax": {"jaxlib"}}


def normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def distributions() -> dict[str, set[str]]:
    """The distributions behind each top-level module, as installed here."""
    return {
        module: {normalize(name) for name in names}
        for module, names in importlib.metadata.packages_distributions().items()
    }


def declared(package: str) -> set[str]:
    project = tomllib.loads((ROOT / "packages" / package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [
        *project["dependencies"],
        *(line for extra in project.get("optional-dependencies", {}).values() for line in extra),
    ]
    names = {normalize(match[0]) for line in lines if (match := re.match(r"[\w.-]+", line))}
    return names | {other for name in names for other in SPEAKS_FOR.get(name, ())}


def foreign_imports(check_files: ModuleType, package: str) -> Iterator[tuple[str, str]]:
    """Place and top-level name of each import from outside the standard library and `sgl_jax`."""
    for path in sorted((ROOT / "packages" / package / "src").rglob("*.py")):
        for line, module in check_files.imports(path.read_text(encoding="utf-8")):
            top = module.partition(".")[0]
            if top != "sgl_jax" and top not in sys.stdlib_module_names:
                yield f"{path.relative_to(ROOT)}:{line}", top


@pytest.mark.parametrize("package", ["bench", "client", "engine", "server"])
def test_every_import_is_declared(check_files: ModuleType, package: str) -> None:
    allowed = declared(package)
    undeclared = [
        f"{place}: {top}"
        for place, top in foreign_imports(check_files, package)
        if not distributions().get(top, {normalize(top)}) & allowed
    ]
    assert undeclared == []
