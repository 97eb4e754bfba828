"""The server's life: bind, start the engine process, serve while it loads, stop in order.

Two processes. This one binds the port first and answers /health with the phase from then on. It ends
when it is told to (exit code 0), or when the engine is dead for good (exit code 1, unless it shall stay).
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sgl_jax.engine.errors import ConfigError, SglJaxError
from sgl_jax.engine.messages import Phase
from sgl_jax.server import logs
from sgl_jax.server.banner import base_url, show_banner
from sgl_jax.server.config import LaunchConfig
from sgl_jax.server.ipc.client import ZmqEngineClient
from sgl_jax.server.ipc.supervisor import EngineSupervisor
from sgl_jax.server.listener import bind
from sgl_jax.server.node import run_node
from sgl_jax.server.phase_log import PhaseLog
from sgl_jax.server.tls import tls_context

if TYPE_CHECKING:
    from sgl_jax.server.web import WebServer

logger = logging.getLogger("sgl_jax.server.launch")

EXIT_FAILED = 1
LAST_ANSWERS_SECONDS = 1.0
"""How long the last errors may take to reach the clients once the engine is gone."""

REPEAT_SECONDS = 0.5
"""A signal that comes again so soon was sent once: `timeout` and some shells signal a process and its group."""


def launch(config: LaunchConfig) -> int:
    """Serves until SIGTERM, SIGINT or the engine's death; of several nodes, all but the first only compute.

    Returns:
        0 after an ordered stop; 1 when the engine failed, or a second signal forced the end.

    Raises:
        ConfigError: the port cannot be bound, the log or the certificate cannot be opened, or the flags do not fit
            the model or the device.
    """
    logs.configure(config.server.log)
    for notice in config.notices:
        logger.info("%s", notice)
    if config.engine.node_rank:
        run_node(config.engine)
    tls = tls_context(config.server)
    with (
        bind(config.server.host, config.server.port) as listener,
        asyncio.Runner(loop_factory=_loop_factory()) as runner,
    ):
        return runner.run(_Life(config, listener, tls).run())


class _Life:
    """One run of the server, from the bound port to the exit code."""

    def __init__(self, config: LaunchConfig, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        self._config = config
        self._listener = listener
        self._tls = tls
        self._url = base_url(config.server.host, listener.getsockname()[1], secure=tls is not None)
        self._stop = asyncio.Event()
        self._stop_at = 0.0
        self._force = asyncio.Event()

    async def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number)
        logger.info("listening on %s", self._url)
        engine = await EngineSupervisor.start(
            self._start_worker, max_restarts=self._config.server.restarts, on_phase=PhaseLog()
        )
        logger.info("starting the engine, process %s", engine.worker_pid)
        try:
            web = await asyncio.to_thread(_make_web, self._config, engine, self._tls)
            return await self._serve(engine, web)
        except ConfigError:
            raise
        except SglJaxError as error:
            logger.error("%s", error)
            return EXIT_FAILED
        finally:
            await engine.close()

    async def _start_worker(self, on_phase: Callable[[Phase], None]) -> ZmqEngineClient:
        return await ZmqEngineClient.start(self._config.engine, log=self._config.server.log, on_phase=on_phase)

    async def _serve(self, engine: EngineSupervisor, web: WebServer) -> int:
        serving = asyncio.create_task(web.run_on(self._listener), name="web")
        announcing = asyncio.create_task(self._announce(engine, web), name="announce")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        dying = asyncio.create_task(engine.wait_dead(), name="engine-death")
        try:
            await asyncio.wait({serving, stopping, dying}, return_when=asyncio.FIRST_COMPLETED)
            if self._shall_stay(engine):
                logger.error("%s The server stays up without it (--on-engine-death=stay).", engine.failure)
                await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            # Asked before the drain, which ends the engine on purpose.
            failure = engine.failure
            await self._drain(engine, web, serving)
            if serving.done() and not serving.cancelled():
                serving.result()
            if failure is not None and not self._stop.is_set():
                raise failure
            return EXIT_FAILED if self._force.is_set() else 0
        finally:
            for task in (serving, announcing, stopping, dying):
                task.cancel()
            await asyncio.gather(serving, announcing, stopping, dying, return_exceptions=True)

    def _shall_stay(self, engine: EngineSupervisor) -> bool:
        # Only an engine that worked once: flags or a model that cannot work are told at once.
        wanted = self._config.server.on_engine_death == "stay" and not self._stop.is_set()
        return wanted and engine.failure is not None and engine.was_ready

    async def _drain(self, engine: EngineSupervisor, web: WebServer, serving: asyncio.Task[None]) -> None:
        """Lets running requests end, for a while; then fails the rest and ends the engine."""
        web.stop()
        forcing = asyncio.create_task(self._force.wait())
        ends = {serving, forcing}
        patience = LAST_ANSWERS_SECONDS if engine.failure else self._config.server.drain_seconds
        await asyncio.wait(ends, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if self._force.is_set():
            engine.kill()
        closing = asyncio.create_task(engine.close())
        await asyncio.wait(ends, timeout=LAST_ANSWERS_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        await web.give_up(LAST_ANSWERS_SECONDS)
        forcing.cancel()
        await closing

    async def _announce(self, engine: EngineSupervisor, web: WebServer) -> None:
        info = await engine.wait_ready()
        await web.wait_started()
        model = self._config.server.served_model_name
        if self._config.server.log_format == "json":  # whoever reads it would stumble over a banner
            fields = {"url": self._url, "model": model, **info.summary}
            logger.info("SGL-JAX is ready. API reference: %s/docs", self._url, extra={"fields": fields})
        else:
            show_banner(self._url, model, info.summary)

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            if time.monotonic() - self._stop_at > REPEAT_SECONDS:
                logger.warning("%s again: ending at once", number.name)
                self._force.set()
            return
        self._stop_at = time.monotonic()
        seconds = self._config.server.drain_seconds
        logger.info("%s: stopping; running requests have %g s, a second signal ends them now", number.name, seconds)
        self._stop.set()


def _make_web(config: LaunchConfig, engine: EngineSupervisor, tls: ssl.SSLContext | None) -> WebServer:
    # Not imported above: it takes a second, in which the engine process does its own imports.
    from sgl_jax.server.web import WebServer

    return WebServer.of(config, engine, tls)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on Windows, and not needed
        return None
    return uvloop.new_event_loop
