"""The engine process: `python -m sgl_jax.server.ipc.worker`, started by `ipc.process`.

Its life: read `WorkerSetup` from stdin, build the core while telling the phase, then loop. A busy
loop is drain commands, step, send the step's outputs as one message; an idle one is a blocked poll.
The worker lives as long as its stdin is open, so no parent, however it died, leaves one behind.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

import zmq

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.errors import SglJaxError
from sgl_jax.engine.execution import device_env
from sgl_jax.engine.messages import (
    AbortRequest,
    Control,
    Finish,
    GenerateRequest,
    StepOutputs,
    TokenDelta,
)
from sgl_jax.engine.parallel.leaving import leave
from sgl_jax.server import logs
from sgl_jax.server.ipc.wire import (
    EXIT_REPORTED,
    Command,
    Event,
    WireError,
    WorkerFailed,
    WorkerSetup,
    decode_command,
    decode_setup,
    encode,
)

if TYPE_CHECKING:
    from sgl_jax.engine.core import EngineCore

logger = logging.getLogger("sgl_jax.engine.worker")

LAST_WORDS_MS = 1000
"""How long an ending worker waits for its last message to leave."""
GRACE_SECONDS = 1.0
"""How long the step under way may take once stdin is closed; then the process ends anyway."""


class ParentWatch:
    """Notices when stdin closes: the parent says goodbye, or it is gone.

    A thread rather than a poll on stdin, because building the core takes minutes without a poll.

    Attributes:
        wake: becomes readable when the parent is gone, so that a blocked poll ends.
        gone: set when the worker should end.
    """

    def __init__(self, folder: str) -> None:
        self.wake, self._alarm = socket.socketpair()
        self.gone = threading.Event()
        self._folder = folder
        threading.Thread(target=self._watch, name="parent-watch", daemon=True).start()

    def _watch(self) -> None:
        while os.read(0, 4096):
            pass
        self.gone.set()
        self._alarm.send(b"!")
        time.sleep(GRACE_SECONDS)
        # Still here: in the middle of a compilation, say. Nobody is left to wait for the result.
        shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(0)


class Pipe:
    """The worker's ends of both sockets. Sends never block: the messages in flight are few and small."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._context = zmq.Context()
        self._commands = self._context.socket(zmq.PULL)
        self._events = self._context.socket(zmq.PUSH)
        self._commands.set_hwm(0)
        self._events.set_hwm(0)
        self._commands.connect(setup.commands)
        self._events.connect(setup.events)

    def send(self, event: Event) -> None:
        """Hands the event to ZMQ's own thread."""
        self._events.send(encode(event), copy=True)

    def receive(self) -> Command | None:
        """The next command, or None when there is none now. Skips what is no command, with a log line."""
        while True:
            try:
                return decode_command(self._commands.recv(zmq.NOBLOCK))
            except zmq.Again:
                return None
            except WireError as error:
                logger.error("dropped a message that is %s", error)

    def wait(self, wake: socket.socket) -> None:
        """Blocks without using the CPU until a command comes or `wake` is readable."""
        poller = zmq.Poller()
        poller.register(self._commands, zmq.POLLIN)
        poller.register(wake, zmq.POLLIN)
        poller.poll()

    def close(self) -> None:
        """Lets the last messages leave, for a bounded time."""
        self._context.destroy(linger=LAST_WORDS_MS)


def run(core: EngineCore, pipe: Pipe, watch: ParentWatch) -> None:
    """Serves commands until the parent is gone. Whatever `core.step()` raises comes out."""
    while not watch.gone.is_set():
        while (command := pipe.receive()) is not None:
            _obey(core, pipe, command)
        if not core.has_work():
            pipe.wait(watch.wake)
            continue
        outputs = core.step()
        if outputs.request_ids:
            pipe.send(outputs)


def _obey(core: EngineCore, pipe: Pipe, command: Command) -> None:
    match command:
        case GenerateRequest():
            _submit(core, pipe, command)
        case AbortRequest(request_ids=request_ids):
            core.abort(request_ids)
        case Control():
            pipe.send(core.control(command.control_id, command.verb))


def _submit(core: EngineCore, pipe: Pipe, request: GenerateRequest) -> None:
    try:
        core.submit(request)
    except Exception as error:  # one request must never end the others
        logger.exception("request %s could not be taken", request.request_id)
        finish = Finish(reason="error", code="internal", message=f"The engine could not take this request: {error}.")
        pipe.send(StepOutputs([request.request_id], [TokenDelta([], finish)]))


def _build(config: EngineConfig, pipe: Pipe) -> EngineCore:
    # XLA reads its environment when jax is imported, and the parent should be connected before that
    # import takes its seconds: hence this order, and imports that are not at the top.
    device_env.apply(config)
    from sgl_jax.engine.startup import build_core

    return build_core(config, pipe.send)


def _fail(pipe: Pipe, error: Exception, doing: str) -> int:
    """Tells the parent why, which says so in its log. What nobody raised on purpose has a traceback here."""
    if not isinstance(error, SglJaxError) or logger.isEnabledFor(logging.DEBUG):
        logger.error("the engine failed while %s", doing, exc_info=error)
    pipe.send(WorkerFailed.from_exception(error))
    return EXIT_REPORTED


def main() -> int:
    """Runs the engine until the parent closes stdin; returns the exit code."""
    # Service managers signal the whole group at once; requests must be able to finish meanwhile.
    # The parent decides when to end, by closing stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    line = sys.stdin.buffer.readline()
    if not line:
        return 0
    setup = decode_setup(line)
    logs.configure(setup.log)
    watch = ParentWatch(setup.folder)
    pipe = Pipe(setup)
    try:
        code = _live(setup.engine, pipe, watch)
    finally:
        pipe.close()
        if watch.gone.is_set():
            shutil.rmtree(setup.folder, ignore_errors=True)
    if setup.engine.nnodes > 1:
        leave(code)
    return code


def _live(config: EngineConfig, pipe: Pipe, watch: ParentWatch) -> int:
    try:
        core = _build(config, pipe)
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
        return _fail(pipe, error, "starting")
    pipe.send(core.info)
    try:
        run(core, pipe, watch)
    except Exception as error:  # noqa: BLE001 - likewise
        return _fail(pipe, error, "computing a step")
    core.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
