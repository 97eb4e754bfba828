"""The examples run as they stand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.server_process import PATIENCE

pytestmark = pytest.mark.model

EXAMPLES = Path(__file__).parents[2] / "examples"
Run = Callable[..., subprocess.CompletedProcess[str]]

WITH_A_SERVER = {
    "client_chat.py": "tokens in",
    "client_stream.py": "finished by",
    "client_async.py": "Name three colours.",
    "curl.sh": '"completion_tokens":12',
}
ALONE = {"engine_generate.py": "'The capital of France is' ->' Paris."}


@pytest.fixture
def run(environ: dict[str, str], tmp_path: Path) -> Run:
    """Runs an example, in an empty folder, and shows what it said if it fails."""

    def run(name: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        program = "bash" if name.endswith(".sh") else sys.executable
        done = subprocess.run(
            [program, str(EXAMPLES / name), *arguments],
            cwd=tmp_path,
            env={**os.environ, **environ, **variables},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


def test_every_example_is_run_here() -> None:
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == {*WITH_A_SERVER, *ALONE, "README.md"}


@pytest.mark.parametrize("name", WITH_A_SERVER)
def test_with_a_server(run: Run, url: str, name: str) -> None:
    if name == "curl.sh" and not shutil.which("curl"):
        pytest.skip("curl is not installed")
    done = run(name, SGL_JAX_BASE_URL=url)
    assert WITH_A_SERVER[name] in done.stdout + done.stderr
    assert "failed:" not in done.stdout


@pytest.mark.parametrize("name", ALONE)
def test_alone(run: Run, name: str) -> None:
    done = run(name)
    assert ALONE[name] in done.stdout
    assert "Gravity is a fundamental concept in physics" in done.stdout
