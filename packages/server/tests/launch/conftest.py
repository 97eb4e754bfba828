from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools.tiny_model import make_tiny_model

PATIENCE = 120.0
"""Seconds after which a test is stuck; never what a test measures."""


class ServerUnderTest:
    """A server process, its log, and its engine process."""

    def __init__(self, *flags: str) -> None:
        command = [sys.executable, "-u", "-m", "sgl_jax.launch_server", *flags, "--port=0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self._lines: list[str] = []
        self._ended = False
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def log(self) -> str:
        with self._news:
            return "".join(self._lines)

    @property
    def url(self) -> str:
        return self.wait_for(r"listening on (\S+)")

    @property
    def worker_pid(self) -> int:
        return int(self.wait_for(r"starting the engine, process (\d+)"))

    def wait_ready(self) -> str:
        self.wait_for("API reference: ")
        return self.url

    def wait_for(self, pattern: str) -> str:
        """The first group of the pattern's first match in the log, or the whole match."""
        with self._news:
            self._news.wait_for(lambda: self._ended or re.search(pattern, "".join(self._lines)), PATIENCE)
            found = re.search(pattern, "".join(self._lines))
            assert found, f"never logged {pattern!r}:\n{''.join(self._lines)}"
            return found[1] if found.groups() else found[0]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit code; everything is in the log then."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def worker_is_gone(self) -> bool:
        try:
            os.kill(self.worker_pid, 0)
        except ProcessLookupError:
            return True
        return False

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        if self.process.stderr is not None:
            self.process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with contextlib.suppress(ValueError):
            for line in self.process.stderr:
                with self._news:
                    self._lines.append(line)
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder under the guide's name that loads and compiles in no time."""
    return make_tiny_model(tmp_path_factory.mktemp("models") / "qwen06b", seed=1, num_hidden_layers=1)


@contextlib.contextmanager
def starter(model: Path) -> Iterator[Callable[..., ServerUnderTest]]:
    started: list[ServerUnderTest] = []

    def start(*flags: str) -> ServerUnderTest:
        started.append(ServerUnderTest(f"--model-path={model}", *flags))
        return started[-1]

    try:
        yield start
    finally:
        for server in started:
            server.close()


@pytest.fixture
def serve(tiny_model: Path) -> Iterator[Callable[..., ServerUnderTest]]:
    """Starts servers with the given flags on any free port, and ends them with the test.

    They serve the tiny model unless the flags name another.
    """
    with starter(tiny_model) as start:
        yield start


@pytest.fixture(scope="module")
def serve_for_all(tiny_model: Path) -> Iterator[Callable[..., ServerUnderTest]]:
    """The same, for servers that all tests of a module share."""
    with starter(tiny_model) as start:
        yield start
