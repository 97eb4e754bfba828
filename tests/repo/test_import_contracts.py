"""The import contracts of the root pyproject.toml: they hold, and each of them really can be broken.

Each contract is tried on a skeleton of empty modules, one for every floor, into which forbidden imports are written;
import-linter has to name each of them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
CONTRACTS: dict[str, dict[str, Any]] = {contract["id"]: contract for contract in CONFIG["contracts"]}

# for each contract: files that break it, and the import by which they do
VIOLATIONS = {
    "floors": {
        "engine/cache/pages.py": "import sgl_jax.engine.scheduling",
        "engine/scheduling/queue.py": "import sgl_jax.engine.execution",
        "engine/execution/step.py": "import sgl_jax.engine.scheduling.queue",
        "engine/plan.py": "def late():\n    from sgl_jax.engine.text import stop",
        "engine/helpers/__init__.py": "",
    },
    "packages": {
        "engine/text/stop.py": "import sgl_jax.server",
        "server/app.py": "import sgl_jax.launch_server",
    },
    "client-side": {
        "client/a.py": "import sgl_jax.engine.messages",
        "client/b.py": "import jax.numpy",
        "bench/a.py": "import sgl_jax.server.ipc.worker",
        "bench/b.py": "from flax import nnx",
    },
    "client-alone": {
        "client/a.py": "import sgl_jax.bench",
    },
    "server-side": {
        "server/app.py": "import sgl_jax.client",
        "engine/models/qwen3.py": "import sgl_jax.bench",
    },
    "engine-no-web": {
        "engine/execution/a.py": "import zmq",
        "engine/execution/b.py": "from fastapi import FastAPI",
        "engine/execution/c.py": "import uvicorn",
    },
    "host-no-jax": {
        "engine/plan.py": "import jax",
        "engine/structured/bitmask.py": "from sgl_jax.engine.models import registry",
        "engine/text/stop.py": "from flax import nnx",
    },
    "web-no-jax": {
        "server/a.py": "import jax",
        "server/b.py": "from sgl_jax.engine.models import registry",
        "launch_server/a.py": "from flax import nnx",
    },
    "core": {
        "server/app.py": "from sgl_jax.engine.startup import build_core",
        "engine/__main__.py": "import sgl_jax.engine.core",
    },
    "facade": {
        "server/app.py": "from sgl_jax.engine import Engine",
    },
}


def floor_names() -> Iterator[str]:
    """The names of all modules on the engine's floors."""
    for layer in CONTRACTS["floors"]["layers"]:
        yield from re.findall(r"\w+", layer)


def write_module(root: Path, path: str, text: str = "") -> None:
    """Writes a module below `sgl_jax`, and empty `__init__.py` files in the folders on its way."""
    file = root / "sgl_jax" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    for folder in file.relative_to(root / "sgl_jax").parents[:-1]:
        (root / "sgl_jax" / folder / "__init__.py").touch()
    file.write_text(text, encoding="utf-8")


def lint(sources: Iterable[Path], *contracts: str) -> subprocess.CompletedProcess[str]:
    """Runs import-linter over the packages in these folders; checks all contracts or those named."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    command += ["--no-cache", "--config", str(ROOT / "pyproject.toml")]
    command += [option for contract in contracts for option in ("--contract", contract)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sources))}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False, timeout=120)


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """A tree with all floors and packages that keeps every contract."""
    for name in floor_names():
        write_module(tmp_path, f"engine/{name}/__init__.py" if name != "__main__" else "engine/__main__.py")
    write_module(tmp_path, "engine/models/registry.py", "import jax")
    write_module(tmp_path, "engine/core/__init__.py", "import sgl_jax.engine.models.registry")
    write_module(tmp_path, "engine/startup/__init__.py", "import sgl_jax.engine.core")
    write_module(tmp_path, "server/ipc/worker.py", "import sgl_jax.engine.core, sgl_jax.engine.startup")
    write_module(tmp_path, "server/node.py", "from sgl_jax.engine.startup import follow_core")
    for package in ("launch_server", "client", "bench"):
        write_module(tmp_path, f"{package}/__init__.py")
    return tmp_path


def test_the_repository_keeps_every_contract() -> None:
    result = lint(sorted(ROOT.glob("packages/*/src")))
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_skeleton_keeps_every_contract(skeleton: Path) -> None:
    result = lint([skeleton])
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(CONTRACTS)} kept, 0 broken" in result.stdout


def test_every_contract_has_a_violation() -> None:
    assert set(VIOLATIONS) == set(CONTRACTS)


@pytest.mark.parametrize("contract", VIOLATIONS)
def test_forbidden_imports_break_their_contract(skeleton: Path, contract: str) -> None:
    for path, text in VIOLATIONS[contract].items():
        write_module(skeleton, path, text)
    result = lint([skeleton], contract)
    assert "0 kept, 1 broken" in result.stdout, result.stdout + result.stderr
    assert result.returncode == 1
    for path in VIOLATIONS[contract]:
        module = "sgl_jax." + path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        assert re.search(rf"^ *- *{re.escape(module)}( ->|$)", result.stdout, re.MULTILINE), result.stdout
