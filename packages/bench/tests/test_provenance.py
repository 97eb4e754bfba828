from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from sgl_jax.bench.provenance import collect_provenance


def test_it_says_what_ran_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    value = collect_provenance("run", {"seed": 3}, {"url": "http://x", "model": "m", "info": None})
    json.dumps(value, allow_nan=False)
    assert value["command"] == "run"
    assert value["flags"] == {"seed": 3}
    assert value["versions"]["sgl-jax-bench"]
    assert value["versions"]["numpy"]
    assert value["machine"]["cpus"] >= 1
    assert value["git"] is None


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_repository_is_named_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    clean = collect_provenance("run", {}, {})["git"]
    (tmp_path / "new.txt").touch()
    dirty = collect_provenance("run", {}, {})["git"]
    assert len(clean["sha"]) == 40
    assert (clean["dirty"], dirty["dirty"]) == (False, True)
