"""The engine process seen from its parent: started, watched, ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence

from sgl_jax.server.ipc.wire import WorkerSetup, encode_setup

WORKER_COMMAND = (sys.executable, "-m", "sgl_jax.server.ipc.worker")
STOP_SECONDS = 1.5
"""How long a worker may take to end by itself before it is killed: with the drain time, below 5 s."""


class WorkerProcess:
    """A running worker. Its stdin stays open for as long as it should live."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, setup: WorkerSetup, command: Sequence[str] = WORKER_COMMAND) -> WorkerProcess:
        """Starts a worker and hands it its setup. Its log goes to our stderr."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            # Its own session: Ctrl-C in the terminal reaches the parent only.
            start_new_session=True,
        )
        assert process.stdin is not None
        # A worker that died at once is reported by `wait`, with its exit code.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(encode_setup(setup))
            await process.stdin.drain()
        return cls(process)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def wait(self) -> int:
        """The exit code, once there is one; negative for a signal."""
        return await self._process.wait()

    async def stop(self) -> None:
        """Closes stdin, waits, and kills what does not end in `STOP_SECONDS`."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """Ends it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


def describe_exit(code: int) -> str:
    """Says in words how the engine process ended."""
    if code >= 0:
        return f"The engine process ended unexpectedly with exit code {code}; the log above says more."
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    hint = " The kernel does this when memory runs out: see dmesg." if name == "SIGKILL" else ""
    return f"The engine process was killed by {name}.{hint}"
