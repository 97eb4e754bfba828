"""What the compiler for GPUs brings: two wheels, for those who ask by name, and none of NVIDIA's gigabytes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKSPACE = "sgl-jax-workspace"
COMPILER = {"jax-cuda13-pjrt", "jax-cuda13-plugin"}


@pytest.fixture(scope="module")
def lock() -> dict[str, list[dict[str, Any]]]:
    """All locked versions of each distribution."""
    packages: dict[str, list[dict[str, Any]]] = {}
    for package in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]:
        packages.setdefault(package["name"], []).append(package)
    return packages


def brought_by(lock: dict[str, list[dict[str, Any]]], wanted: list[dict[str, Any]]) -> set[str]:
    """The names of what is installed for these requirements, on whatever platform."""
    seen: set[tuple[str, str]] = set()
    left = list(wanted)
    while left:
        requirement = left.pop()
        for extra in ("", *requirement.get("extra", ())):
            if (requirement["name"], extra) in seen:
                continue
            seen.add((requirement["name"], extra))
            for package in lock[requirement["name"]]:
                extras = package.get("optional-dependencies", {})
                left += extras.get(extra, []) if extra else package.get("dependencies", [])
    return {name for name, _ in seen}


def test_the_compiler_is_two_wheels(lock: dict[str, list[dict[str, Any]]]) -> None:
    (workspace,) = lock[WORKSPACE]
    assert brought_by(lock, workspace["dev-dependencies"]["deviceless"]) == COMPILER


@pytest.mark.parametrize("name", sorted(COMPILER))
def test_the_compiler_has_the_versions_of_jaxlib(lock: dict[str, list[dict[str, Any]]], name: str) -> None:
    versions = {package["version"]: package["resolution-markers"] for package in lock["jaxlib"]}
    assert {package["version"]: package["resolution-markers"] for package in lock[name]} == versions


def test_nobody_gets_cuda_unasked(lock: dict[str, list[dict[str, Any]]]) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"]
    assert settings.get("default-groups", ["dev"]) == ["dev"]
    (workspace,) = lock[WORKSPACE]
    usual = brought_by(lock, [*workspace["dependencies"], *workspace["dev-dependencies"]["dev"]])
    assert "jaxlib" in usual
    assert [name for name in usual if name.startswith(("nvidia-", "jax-cuda"))] == []
