"""The web half of a launch: the text side's files, and uvicorn under our own control."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import ssl
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import uvicorn
from fastapi import FastAPI

from sgl_jax.engine.errors import ConfigError
from sgl_jax.engine.text.chat_template import ChatTemplate
from sgl_jax.engine.text.load import load_tokenizer
from sgl_jax.engine.text.tokenizer import Tokenizer
from sgl_jax.server.app import AppOptions, create_app
from sgl_jax.server.auth import Keys
from sgl_jax.server.config import LaunchConfig, ServerConfig
from sgl_jax.server.connections import Connection, ConnectionWatch
from sgl_jax.server.context import ServerContext
from sgl_jax.server.http_protocol import BoundedHttpProtocol
from sgl_jax.server.ipc.supervisor import EngineSupervisor
from sgl_jax.server.limits import Limits
from sgl_jax.server.openai.messages import takes_arguments_as_text
from sgl_jax.server.parsing.chat_format import ChatFormat

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from sgl_jax.server.traces import Traces

KEEP_ALIVE_SECONDS = 75
"""Longer than what clients keep idle connections for, so that none is closed under a new request."""


@dataclass(frozen=True, slots=True)
class TextSide:
    """What turns messages into ids and back."""

    tokenizer: Tokenizer
    chat_template: ChatTemplate
    chat_format: ChatFormat


def load_text_side(config: LaunchConfig) -> TextSide:
    """Reads tokenizer and chat template, and finds out how the model speaks; takes up to seconds.

    Raises:
        ModelLoadError: the tokenizer is missing or damaged, or the chat template is not valid Jinja.
        ConfigError: `--chat-template` names no readable file.
    """
    tokenizer = load_tokenizer(config.engine)
    given = config.server.chat_template
    source = None if given is None else read_chat_template(given)
    template = ChatTemplate.of(tokenizer, source)
    shown = source or "".join(filter(None, (tokenizer.chat_template, tokenizer.tool_chat_template)))
    chat_format = ChatFormat.choose(
        config.server.tool_call_parser,
        config.server.reasoning_parser,
        shown,
        arguments_as_text=takes_arguments_as_text(template),
    )
    logger.info("tool calls: %s; reasoning: %s", *chat_format.names)
    if chat_format.tools is not None and "tools" not in shown:
        logger.warning("the chat template does not mention tools, so the model hears of none; see --chat-template")
    return TextSide(tokenizer, template, chat_format)


def read_chat_template(given: str) -> str:
    """The template's source, from a file, or as it is when it is a template rather than a path.

    Raises:
        ConfigError: it is neither.
    """
    if "{%" in given or "{{" in given:
        return given
    try:
        return Path(given).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--chat-template={given} cannot be read: {error}.") from error


def make_traces(config: ServerConfig) -> Traces | None:
    """Where traces go; None when nobody wants them.

    Raises:
        ConfigError: they are wanted, and what makes them is not installed.
    """
    if config.otlp_traces_endpoint is None:
        return None
    try:
        from sgl_jax.server.traces import Traces
    except ImportError as error:
        raise ConfigError(
            f"--otlp-traces-endpoint needs a package that is not installed ({error.name}): "
            "pip install 'sgl-jax-server[otel]'."
        ) from error
    return Traces(config.otlp_traces_endpoint, config.served_model_name)


class WebServer(uvicorn.Server):
    """uvicorn on a socket that is bound already, stopped by us instead of by its own signal handlers."""

    def __init__(
        self,
        app: FastAPI,
        server: ServerConfig,
        tls: ssl.SSLContext | None = None,
        traces: Traces | None = None,
    ) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,  # ours says more
            server_header=False,
            http=BoundedHttpProtocol,
            ws="none",
            lifespan="off",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            # Only a backstop: after the drain time the engine's end ends every request with an error.
            timeout_graceful_shutdown=math.ceil(server.drain_seconds) + 1,
            ssl_context_factory=None if tls is None else lambda _config, _default: tls,
        )
        super().__init__(config)
        self._accepting = asyncio.Event()
        self._traces = traces
        # Not one for WebSockets among them: ws="none".
        connections = cast("Collection[Connection]", self.server_state.connections)
        self._watch = ConnectionWatch(connections, server.max_stall_seconds)

    @classmethod
    def of(cls, config: LaunchConfig, engine: EngineSupervisor, tls: ssl.SSLContext | None = None) -> Self:
        """The web half of a launch, in front of its engine. Blocks for up to seconds.

        Args:
            tls: what to speak HTTPS with; None speaks HTTP.

        Raises:
            ModelLoadError, ConfigError: as `load_text_side`.
        """
        text = load_text_side(config)
        traces = make_traces(config.server)
        context = ServerContext(
            engine=engine,
            tokenizer=text.tokenizer,
            chat_template=text.chat_template,
            chat_format=text.chat_format,
            served_model_name=config.server.served_model_name,
            phase=engine.phase,
            restarts=lambda: engine.restarts,
            incremental_stream=config.server.incremental_stream_output,
            stream_interval=config.server.stream_interval,
            traces=traces,
            limits=Limits(
                max_body_bytes=config.server.max_body_bytes,
                body_seconds=config.server.max_body_seconds,
                request_seconds=config.server.max_request_seconds,
                stored_responses=config.server.max_stored_responses,
                strict_fields=config.server.strict_fields,
                queued_sequences=config.engine.max_queued_requests,
            ),
        )
        options = AppOptions(
            keys=Keys(config.server.api_key, config.server.admin_api_key),
            cors_allow_origins=config.server.origins,
            access_log=config.server.access_log,
            metrics=config.server.enable_metrics,
            page=not config.server.disable_ui,
        )
        return cls(create_app(context, options), config.server, tls, traces)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals alone: uvicorn would raise them again at the end and spoil the exit code."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Opens the listener, and lets `wait_started` return."""
        await super().startup(sockets)
        self._accepting.set()

    async def wait_started(self) -> None:
        """Waits until requests are answered."""
        await self._accepting.wait()

    async def run_on(self, listener: socket.socket) -> None:
        """Serves until `stop`, then until the open requests are answered."""
        watching = asyncio.create_task(self._watch.run(), name="connections")
        try:
            await self.serve(sockets=[listener])
        finally:
            watching.cancel()
            if self._traces is not None:
                await asyncio.to_thread(self._traces.close)

    def stop(self) -> None:
        """Takes no more connections, and lets the open requests end."""
        self.should_exit = True

    async def give_up(self, patience: float) -> None:
        """No longer waits for open requests: breaks their connections and gives their handlers `patience` seconds."""
        self.should_exit = True
        self.force_exit = True
        for connection in list(self.server_state.connections):
            # A handler whose client does not read ends as if that client had left.
            if connection.transport is not None:
                connection.transport.abort()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=patience)
