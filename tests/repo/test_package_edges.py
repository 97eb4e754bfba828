"""What the four packages say of themselves: who depends on whom, with which pin, released how."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["bench", "client", "engine", "server"]
EDGES = {"server": {"engine"}, "bench": {"client"}, "engine": set(), "client": set()}


def pyproject(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / "packages" / name / "pyproject.toml").read_text(encoding="utf-8"))


def nx_project(name: str) -> dict[str, Any]:
    project: dict[str, Any] = json.loads((ROOT / "packages" / name / "project.json").read_text(encoding="utf-8"))
    return project


def test_the_workspace_holds_exactly_these_packages() -> None:
    assert sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml")) == NAMES
    assert sorted(path.parent.name for path in ROOT.glob("packages/*/project.json")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_siblings_are_declared_pinned_and_found_in_the_workspace(name: str) -> None:
    tables = pyproject(name)
    siblings = [line for line in tables["project"]["dependencies"] if line.startswith("sgl-jax-")]
    matches = [re.fullmatch(r"sgl-jax-(\w+)~=(\d+\.\d+\.\d+)", line) for line in siblings]
    assert all(matches), f"write sgl-jax-NAME~=X.Y.Z, not {siblings}"
    found = {match[1]: match[2] for match in matches if match}
    assert set(found) == EDGES[name]
    assert set(tables["tool"]["uv"].get("sources", {})) == {f"sgl-jax-{sibling}" for sibling in found}
    for sibling, pin in found.items():
        version = pyproject(sibling)["project"]["version"]
        assert pin.split(".")[:2] == version.split(".")[:2], f"{name} asks for {sibling} {pin}, which is at {version}"


@pytest.mark.parametrize("name", NAMES)
def test_a_package_brings_its_licence_and_its_types(name: str) -> None:
    folder = ROOT / "packages" / name
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert (folder / "src" / "sgl_jax" / name / "py.typed").is_file()
    assert pyproject(name)["project"]["license-files"] == ["LICENSE"]


@pytest.mark.parametrize("name", NAMES)
def test_every_package_has_the_same_targets(name: str) -> None:
    project = nx_project(name)
    assert project["name"] == name
    assert set(project["targets"]) == {"build", "lint", "test", "typecheck"}
    # `nx release` rewrites the pins of siblings only where it reads this; uv never bundles.
    assert project["targets"]["build"]["options"]["bundleLocalDependencies"] is False


@pytest.fixture
def nx() -> str:
    """Nx's program. It is optional, like Node itself."""
    program = ROOT / "node_modules" / ".bin" / "nx"
    if shutil.which("node") is None or not program.exists():
        pytest.skip("Nx is not installed here (npm ci)")
    return str(program)


def test_nx_sees_the_same_edges(nx: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NX_DAEMON", "false")
    file = tmp_path / "graph.json"
    subprocess.run([nx, "graph", f"--file={file}"], cwd=ROOT, check=True, capture_output=True, timeout=120)
    graph = json.loads(file.read_text(encoding="utf-8"))["graph"]
    assert sorted(graph["nodes"]) == NAMES
    assert {name: {edge["target"] for edge in graph["dependencies"][name]} for name in NAMES} == EDGES
