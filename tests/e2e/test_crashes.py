"""The engine is killed under load, again and again: everybody is told, it comes back, and nothing piles up."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sgl_jax.engine.config.default_model import find_default_model
from tests.e2e.server_process import ServerProcess
from tools.kill_drill import FAKE, Load, drill, in_use, short_folder, wait_for_no_more

pytestmark = [pytest.mark.model, pytest.mark.slow]

ROUNDS = 3
"""`tools/kill_drill.py` does twenty."""
LOAD = Load(streams=8, collected=8, max_tokens=400_000)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The servers' folder for temporary files."""
    with short_folder() as made:
        monkeypatch.setenv("TMPDIR", str(made))
        yield made


def test_deaths_under_load(start: Callable[..., ServerProcess], folder: Path) -> None:
    server = start(*FAKE)
    before = in_use(server, folder)
    assert before.processes == 2
    drill(server, LOAD, ROUNDS)
    wait_for_no_more(server, folder, before, threads=ROUNDS, alone=False)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert list(folder.iterdir()) == []
    assert "Traceback" not in server.log


def test_an_engine_that_cannot_come_back_ends_the_server(
    start: Callable[..., ServerProcess], folder: Path, tmp_path: Path
) -> None:
    default_model = find_default_model()
    assert default_model is not None
    model = tmp_path / default_model.name
    model.symlink_to(default_model)
    server = start(*FAKE, f"--model-path={model}", "--max-restarts=2")
    model.unlink()
    os.kill(server.engine_pid, signal.SIGKILL)
    assert server.wait() == 1
    assert server.log.count("Starting it again") == 2
    assert str(model) in server.log.splitlines()[-1]
    assert server.survivors() == []
    assert list(folder.iterdir()) == []
    assert "Traceback" not in server.log
