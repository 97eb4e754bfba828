"""An engine that outlives its processes: one worker after another, behind one `EngineClient`.

Every worker has a `ZmqEngineClient` of its own, with its own folder, sockets and mailboxes. So nothing of a dead one,
neither a late message nor a waiting request, can reach the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from sgl_jax.engine.errors import EngineDeadError, SglJaxError
from sgl_jax.engine.messages import ControlReply, ControlVerb, EngineInfo, GenerateRequest, Phase, TokenDelta
from sgl_jax.server.ipc.client import ZmqEngineClient

logger = logging.getLogger("sgl_jax.server.ipc")

LONGEST_PAUSE_SECONDS = 30.0

StartWorker = Callable[[Callable[[Phase], None]], Awaitable[ZmqEngineClient]]
"""Starts a worker that reports its phases."""


def pause_before(start: int) -> float:
    """Seconds to wait before the `start`-th start in a row (from 1): 0, 1, 2, 4, …, `LONGEST_PAUSE_SECONDS`."""
    return 0.0 if start <= 1 else min(2.0 ** min(start - 2, 10), LONGEST_PAUSE_SECONDS)


class EngineSupervisor:
    """Implements `engine.messages.EngineClient` over a worker that is replaced when it dies.

    The death of a worker fails its requests at once; those that come before the next one is ready are refused. A worker
    that never became ready the first time is not replaced: its flags or its model cannot work.

    Make one with `start`; it is usable once `wait_ready` returns.
    """

    def __init__(self, start_worker: StartWorker, max_restarts: int, on_phase: Callable[[Phase], None]) -> None:
        self._start_worker = start_worker
        self._max_restarts = max_restarts
        self._on_phase = on_phase
        self._worker: ZmqEngineClient
        self._was_ready = False
        self._failure: SglJaxError | None = None
        self._is_paused = False
        self._pausing: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._supervising: asyncio.Task[SglJaxError]
        self.restarts = 0
        """Workers that replaced another one."""

    @classmethod
    async def start(
        cls,
        start_worker: StartWorker,
        *,
        max_restarts: int = 0,
        on_phase: Callable[[Phase], None] = lambda phase: None,
    ) -> EngineSupervisor:
        """Starts the first worker and returns at once, in phase `starting`.

        Args:
            start_worker: how to start each.
            max_restarts: how many in a row may be started without one that answers a request.
            on_phase: hears of every change of phase, on the event loop.
        """
        engine = cls(start_worker, max_restarts, on_phase)
        engine._worker = await start_worker(engine._hear)
        engine._supervising = asyncio.create_task(engine._supervise(), name="engine-supervisor")
        return engine

    @property
    def worker_pid(self) -> int | None:
        """Process id of the present worker."""
        return self._worker.worker_pid

    @property
    def failure(self) -> SglJaxError | None:
        """Why the engine is dead for good; None while it lives or is started again."""
        return self._failure

    @property
    def was_ready(self) -> bool:
        """Whether the engine could be used at some time, even if it is dead now."""
        return self._was_ready

    def phase(self) -> Phase:
        """Where the engine is now; `dead` only for good."""
        phase = self._worker.phase()
        return Phase("starting") if phase.name == "dead" and self._failure is None else phase

    async def wait_ready(self) -> EngineInfo:
        """Waits for the first worker. Raises as `ZmqEngineClient.wait_ready`."""
        return await self._worker.wait_ready()

    async def wait_dead(self) -> SglJaxError:
        """Waits until the engine is dead for good, and says why."""
        return await asyncio.shield(self._supervising)

    async def submit(self, request: GenerateRequest) -> None:
        """As `ZmqEngineClient.submit`."""
        await self._worker.submit(request)

    def outputs(self, request_id: str, every: int = 1) -> AsyncGenerator[TokenDelta]:
        """As `ZmqEngineClient.outputs`; they fail with the worker that took the request."""
        return self._worker.outputs(request_id, every)

    async def abort(self, request_ids: Sequence[str]) -> None:
        """As `ZmqEngineClient.abort`."""
        await self._worker.abort(request_ids)

    async def control(self, verb: ControlVerb) -> ControlReply:
        """As `ZmqEngineClient.control`. The next worker is paused, too, where this one is."""
        reply = await self._worker.control(verb)
        if verb in ("pause", "continue") and reply.error is None:
            self._is_paused = verb == "pause"
        return reply

    def info(self) -> EngineInfo:
        """As `ZmqEngineClient.info`."""
        return self._worker.info()

    async def close(self) -> None:
        """Fails what is still running and ends the process; idempotent."""
        self._stopping.set()
        await self._worker.close()
        await asyncio.shield(self._supervising)

    def kill(self) -> None:
        """Ends the process for good, without waiting for anything; `close` still tidies up."""
        self._stopping.set()
        self._worker.kill()

    async def _supervise(self) -> SglJaxError:
        failures = 0
        while True:
            failure = await self._worker.wait_dead()
            failures = 1 if self._worker.has_answered else failures + 1
            if self._stopping.is_set() or not self._was_ready or failures > self._max_restarts:
                break
            pause = pause_before(failures)
            when = f" in {pause:g} s" if pause else ""
            logger.error("%s Starting it again%s (%d of %d in a row).", failure, when, failures, self._max_restarts)
            await self._worker.close()
            if await self._stopped_within(pause):
                break
            self.restarts += 1
            try:
                self._worker = await self._start_worker(self._hear)
            except OSError as error:
                failure = EngineDeadError(f"The engine process could not be started again: {error}.")
                break
            logger.info("started the engine again, process %s", self.worker_pid)
            if self._stopping.is_set():  # `close` came in between, and closed the one before
                await self._worker.close()
        self._failure = failure
        self._on_phase(Phase("dead"))
        return failure

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    def _hear(self, phase: Phase) -> None:
        self._was_ready |= phase.name == "ready"
        if phase.name == "ready" and self._is_paused:
            self._pausing = asyncio.create_task(self._pause_again(), name="engine-pause")
        if phase.name != "dead":
            self._on_phase(phase)

    async def _pause_again(self) -> None:
        with contextlib.suppress(EngineDeadError):  # then the next one is paused
            await self._worker.control("pause")
