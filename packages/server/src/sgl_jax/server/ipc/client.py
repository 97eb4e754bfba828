"""The web process's end: `EngineClient` over ZMQ to one engine process.

The event loop calls us when something has come; each step's message is handed out to the mailboxes of its requests. A
task watches the process, so that a worker that dies without a word still fails every request at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

import zmq

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.errors import EngineDeadError, InvalidRequestError, SglJaxError
from sgl_jax.engine.messages import (
    AbortRequest,
    Control,
    ControlReply,
    ControlVerb,
    EngineInfo,
    Finish,
    GenerateRequest,
    Phase,
    StepOutputs,
    TokenDelta,
)
from sgl_jax.server.ipc.mailbox import Mailbox
from sgl_jax.server.ipc.private_folder import PrivateFolder, sweep
from sgl_jax.server.ipc.process import WORKER_COMMAND, WorkerProcess, describe_exit
from sgl_jax.server.ipc.wire import (
    EXIT_REPORTED,
    Command,
    Event,
    WireError,
    WorkerFailed,
    WorkerSetup,
    decode_event,
    encode,
)
from sgl_jax.server.logs import DEFAULT_LOG, LogConfig

logger = logging.getLogger("sgl_jax.server.ipc")

LAST_WORDS_SECONDS = 2.0
"""How long the reason of a worker that ended may take to arrive."""

FRAMES_AT_ONCE = 32
"""Steps taken in before others may run; readers get what came in between as one delta."""


class ZmqEngineClient:
    """Implements `engine.messages.EngineClient`. Belongs to the event loop that it was started on.

    Make one with `start`; it is usable once `wait_ready` returns.
    """

    def __init__(self, folder: PrivateFolder, on_phase: Callable[[Phase], None]) -> None:
        self._folder = folder
        self._on_phase = on_phase
        self._context = zmq.Context()
        self._commands = self._context.socket(zmq.PUSH)
        self._events = self._context.socket(zmq.PULL)
        # No high-water mark: sends never block, and what queues is bounded by the live requests.
        self._commands.set_hwm(0)
        self._events.set_hwm(0)
        self._commands.bind(f"ipc://{folder.path}/commands")
        self._events.bind(f"ipc://{folder.path}/events")
        self._worker: WorkerProcess | None = None
        self._loop = asyncio.get_running_loop()
        self._watching: asyncio.Task[None] | None = None
        self._mailboxes: dict[str, Mailbox] = {}
        self._replies: dict[str, asyncio.Future[ControlReply]] = {}
        self._control_ids = itertools.count()
        self._phase = Phase("starting")
        self._info: EngineInfo | None = None
        self._failure: SglJaxError | None = None
        self._has_answered = False
        self._settled = asyncio.Event()
        self._dead = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        engine: EngineConfig,
        *,
        log: LogConfig = DEFAULT_LOG,
        on_phase: Callable[[Phase], None] = lambda phase: None,
        command: Sequence[str] = WORKER_COMMAND,
    ) -> ZmqEngineClient:
        """Starts an engine process and returns at once, in phase `starting`.

        Args:
            on_phase: hears of every change of phase, on the event loop.
            command: what to run as the worker; for tests.
        """
        for leftover in sweep():
            logger.info("removed %s, left behind by a server that was killed", leftover)
        client = cls(PrivateFolder(), on_phase)
        setup = WorkerSetup(
            engine=engine,
            folder=str(client.folder),
            commands=f"ipc://{client.folder}/commands",
            events=f"ipc://{client.folder}/events",
            log=log,
        )
        try:
            client._worker = await WorkerProcess.start(setup, command)
        except BaseException:
            await client.close()
            raise
        client._watching = asyncio.create_task(client._watch(client._worker), name="engine-watch")
        client._loop.add_reader(client._events.FD, client._receive)
        return client

    @property
    def worker_pid(self) -> int | None:
        """Process id of the engine."""
        return None if self._worker is None else self._worker.pid

    @property
    def folder(self) -> Path:
        """The private folder with the sockets; gone after `close`."""
        return self._folder.path

    @property
    def failure(self) -> SglJaxError | None:
        """Why the engine is dead; None while it lives."""
        return self._failure

    @property
    def was_ready(self) -> bool:
        """Whether the engine could be used at some time, even if it is dead now."""
        return self._info is not None

    @property
    def has_answered(self) -> bool:
        """Whether it has delivered anything for a request."""
        return self._has_answered

    def phase(self) -> Phase:
        """Where the engine is now; `ready` only when requests can be submitted."""
        return self._phase

    async def wait_ready(self) -> EngineInfo:
        """Waits for the engine.

        Raises:
            ConfigError: the flags do not fit the model or the device.
            ModelLoadError: the model cannot be loaded.
            EngineDeadError: the process ended in another way.
        """
        await self._settled.wait()
        if self._failure is not None:
            raise self._failure
        return self.info()

    async def wait_dead(self) -> SglJaxError:
        """Waits until the engine is dead, for whatever reason, and says why."""
        await self._dead.wait()
        assert self._failure is not None
        return self._failure

    async def submit(self, request: GenerateRequest) -> None:
        """Hands the request over.

        Raises:
            EngineDeadError: there is no engine to take it, or not yet.
            InvalidRequestError: its id belongs to a request that is still live.
        """
        self.info()
        if request.request_id in self._mailboxes:
            raise InvalidRequestError(
                f"Request id {request.request_id!r} is in use by a running request; choose another.", param="rid"
            )
        self._mailboxes[request.request_id] = Mailbox()
        self._send(request)

    def outputs(self, request_id: str, every: int = 1) -> AsyncGenerator[TokenDelta]:
        """Deltas of a submitted request until one with `finish`; may join several steps when the reader lags.

        Args:
            every: tokens that are kept back until there are so many, after the first delta and before the last.

        Raises:
            InvalidRequestError: at once, when no such request was submitted or it has ended.
            EngineDeadError: from the iteration, when the engine dies before the request is finished.
        """
        mailbox = self._mailboxes.get(request_id)
        if mailbox is None:
            raise InvalidRequestError(f"There is no request {request_id!r}: submit it first.", param="rid")
        mailbox.every = every
        return self._follow(request_id, mailbox)

    async def abort(self, request_ids: Sequence[str]) -> None:
        """Frees the requests' slots within one step; their `outputs` end with finish reason `abort`."""
        known = [request_id for request_id in request_ids if request_id in self._mailboxes]
        if known and self._failure is None:
            self._send(AbortRequest(request_ids=known))
        for request_id in known:
            # The engine says nothing more about it; whoever still waits must not wait forever. Leaving
            # the mailbox out of the table makes outputs that are already on their way go nowhere.
            self._mailboxes.pop(request_id).put(TokenDelta([], Finish(reason="abort", message="Aborted.")))

    async def control(self, verb: ControlVerb) -> ControlReply:
        """Asks and waits for the reply. Raises `EngineDeadError` if the engine is not there or dies first."""
        self.info()
        control_id = str(next(self._control_ids))
        reply: asyncio.Future[ControlReply] = asyncio.get_running_loop().create_future()
        self._replies[control_id] = reply
        try:
            self._send(Control(control_id=control_id, verb=verb))
            return await reply
        finally:
            del self._replies[control_id]

    def info(self) -> EngineInfo:
        """Facts about the ready engine. Raises `EngineDeadError` before it is ready or after it died."""
        if self._failure is not None:
            raise EngineDeadError(str(self._failure))
        if self._info is None:
            raise EngineDeadError(f"The engine is not ready yet ({self._phase}); try again in a few seconds.")
        return self._info

    async def close(self) -> None:
        """Fails what is still running and ends the process; idempotent."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="engine-close")
        await asyncio.shield(self._closing)

    def kill(self) -> None:
        """Ends the process without waiting for anything; `close` still tidies up."""
        if self._worker is not None:
            self._worker.kill()

    async def _follow(self, request_id: str, mailbox: Mailbox) -> AsyncGenerator[TokenDelta]:
        finished = False
        try:
            while not finished:
                delta = await mailbox.take()
                finished = delta.finish is not None
                yield delta
        finally:
            # After `abort` it is out of the table already.
            if self._mailboxes.get(request_id) is mailbox:
                del self._mailboxes[request_id]
                if not finished and self._failure is None:
                    self._send(AbortRequest(request_ids=[request_id]))

    async def _close(self) -> None:
        self._die(EngineDeadError("The server is shutting down."))
        if self._worker is not None:
            await self._worker.stop()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        self._loop.remove_reader(self._events.FD)
        self._commands.close(linger=0)
        self._events.close(linger=0)
        self._context.term()
        self._folder.remove()

    def _send(self, command: Command) -> None:
        # Refused only when the worker is gone and `_watch` has yet to hear of it. What waits for an
        # answer fails then, like everything else.
        with contextlib.suppress(zmq.Again):
            self._commands.send(encode(command), zmq.NOBLOCK)

    def _receive(self) -> None:
        """Takes in what has come: all of it, since ZMQ's descriptor does not become readable again for what is left."""
        if self._events.closed:
            return
        for _ in range(FRAMES_AT_ONCE):
            try:
                frame = self._events.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                event = decode_event(frame)
            except WireError as error:
                logger.error("the engine sent a message that is %s", error)
                self._loop.remove_reader(self._events.FD)
                self._die(EngineDeadError("The engine process and the server do not match; reinstall both."))
                self.kill()
                return
            self._handle(event)
        self._loop.call_soon(self._receive)

    def _handle(self, event: Event) -> None:
        match event:
            case StepOutputs():
                self._has_answered = True
                mailboxes = self._mailboxes
                for request_id, delta in zip(event.request_ids, event.deltas, strict=True):
                    # No mailbox: the reader left, its abort is on the way.
                    if (mailbox := mailboxes.get(request_id)) is not None:
                        mailbox.put(delta)
            case ControlReply(control_id=control_id):
                reply = self._replies.get(control_id)
                if reply is not None and not reply.done():
                    reply.set_result(event)
            case Phase(name="ready"):
                pass  # `EngineInfo` follows, and only then can requests be served
            case Phase():
                self._enter(event)
            case EngineInfo():
                self._info = event
                self._enter(Phase("ready"))
                self._settled.set()
            case WorkerFailed():
                self._die(event.to_exception())

    async def _watch(self, worker: WorkerProcess) -> None:
        code = await worker.wait()
        if code == EXIT_REPORTED:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._dead.wait(), LAST_WORDS_SECONDS)
        self._die(EngineDeadError(describe_exit(code)))

    def _die(self, failure: SglJaxError) -> None:
        if self._failure is not None:
            return
        self._failure = failure
        for mailbox in self._mailboxes.values():
            mailbox.fail(str(failure))
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(EngineDeadError(str(failure)))
        self._enter(Phase("dead"))
        self._settled.set()
        self._dead.set()

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._on_phase(phase)
