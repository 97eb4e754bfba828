"""A server in processes of its own, started as a user starts it: `python -m sgl_jax.launch_server`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

PATIENCE = 120.0
"""Seconds after which a test is stuck; never what a test measures."""

FLAGS = (
    "--device=cpu",
    "--dtype=float32",
    "--max-total-tokens=8192",
    "--max-running-requests=32",
    "--chunked-prefill-size=64",
    *("--precompile-bs-paddings", "1", "8", "32"),
    *("--precompile-token-paddings", "64"),
)
"""Few compiled shapes; the same for all servers, so that they share the compile cache."""

_MARK = "SGL_JAX_TEST_SERVER"


class ServerProcess:
    """The web process, its engine process, and their log.

    Args:
        log: the file that takes stderr.
        flags: beside `FLAGS`.
        environ: beside this process's environment.
    """

    def __init__(self, log: Path, *flags: str, environ: Mapping[str, str]) -> None:
        self._log = log
        self._mark = uuid.uuid4().hex
        command = [sys.executable, "-m", "sgl_jax.launch_server", "--port=0", *FLAGS, *flags]
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                command, stderr=stderr, env={**os.environ, **environ, _MARK: self._mark}, start_new_session=True
            )

    @property
    def url(self) -> str:
        """Base URL, as soon as the port is bound."""
        return self._logged(r"listening on (\S+)")

    @property
    def pid(self) -> int:
        """Of the web process."""
        return self._process.pid

    @property
    def engine_pid(self) -> int:
        """Of the present engine process: the last one that was started."""
        started = r"start(?:ing|ed) the engine(?: again)?, process (\d+)"
        self._logged(started)
        return int(re.findall(started, self.log)[-1])

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def wait_ready(self) -> None:
        """Returns when requests are served."""
        ready = f"{self.url}/readyz"
        wait_until(lambda: self._alive() and httpx.get(ready, timeout=PATIENCE).status_code == 200, "ready")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit code."""
        return self._process.wait(PATIENCE)

    def survivors(self) -> list[int]:
        """Every process that this server started and that still runs, itself included."""
        mark = f"{_MARK}={self._mark}".encode()
        found = []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in environ.read_bytes().split(b"\0"):
                    found.append(int(environ.parent.name))
            except OSError:  # it ended in this moment, or is somebody else's
                continue
        return found

    def close(self) -> None:
        """Ends it, in order if it can."""
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _alive(self) -> bool:
        assert self._process.poll() is None, f"the server ended with code {self._process.returncode}:\n{self.log}"
        return True

    def _logged(self, pattern: str) -> str:
        wait_until(lambda: re.search(pattern, self.log) or (not self._alive()), pattern)
        found = re.search(pattern, self.log)
        assert found
        return found[1]


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Polls until the condition holds; gives up, with an error, only when something is stuck."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)
