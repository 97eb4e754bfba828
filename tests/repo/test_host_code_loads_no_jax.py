"""Host code stays free of JAX when it really runs, third parties included; import-linter shows it for our own files."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [path for package in ("engine", "server") for path in [ROOT / "packages" / package / "src"]]

IMPORT_AND_LOOK = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    heavy = {"flax", "jax", "jaxlib"} & set(sys.modules)
    if heavy:
        sys.exit(f"{name} loads {sorted(heavy)}")
"""


def modules_below(*names: str) -> list[str]:
    """All modules of the given modules and packages, without `__main__` and the engine process."""
    found = set()
    for source in SOURCES:
        for path in source.rglob("*.py"):
            parts = path.relative_to(source).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if parts[-1] != "__main__" and any(module == name or module.startswith(f"{name}.") for name in names):
                found.add(module)
    return sorted(found - {"sgl_jax.server.ipc.worker"})


def host_modules() -> list[str]:
    """The modules that the contract `host-no-jax` names."""
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    [contract] = [contract for contract in tables["contracts"] if contract["id"] == "host-no-jax"]
    return modules_below(*contract["source_modules"])


@pytest.mark.parametrize(
    "modules",
    [
        pytest.param(["sgl_jax.engine"], id="the engine's facade"),
        pytest.param(host_modules(), id="the engine's host code"),
        pytest.param(modules_below("sgl_jax.server", "sgl_jax.launch_server"), id="the web process"),
    ],
)
def test_importing_it_loads_no_jax(modules: list[str]) -> None:
    assert modules
    command = [sys.executable, "-c", IMPORT_AND_LOOK, *modules]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
