"""The web half of a launch: the text side's files, and uvicorn under our own control."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import uvicorn
from fastapi import FastAPI

from sgl_jax.engine.errors import ConfigError
from sgl_jax.engine.text.chat_template import ChatTemplate
from sgl_jax.engine.text.tokenizer import Tokenizer
from sgl_jax.server.app import create_app
from sgl_jax.server.config import LaunchConfig
from sgl_jax.server.context import ServerContext
from sgl_jax.server.ipc.client import ZmqEngineClient
from sgl_jax.server.limits import Limits

KEEP_ALIVE_SECONDS = 75
"""Longer than what clients keep idle connections for, so that none is closed under a new request."""


@dataclass(frozen=True, slots=True)
class TextSide:
    """What turns messages into ids and back."""

    tokenizer: Tokenizer
    chat_template: ChatTemplate


def load_text_side(config: LaunchConfig) -> TextSide:
    """Reads tokenizer and chat template; takes up to seconds.

    Raises:
        ModelLoadError: the tokenizer is missing or damaged, or the chat template is not valid Jinja.
        ConfigError: `--chat-template` names no readable file.
    """
    tokenizer = Tokenizer.from_path(Path(config.engine.tokenizer_path or config.engine.model_path))
    given = config.server.chat_template
    source = None if given is None else read_chat_template(given)
    return TextSide(tokenizer, ChatTemplate.of(tokenizer, source))


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


class WebServer(uvicorn.Server):
    """uvicorn on a socket that is bound already, stopped by us instead of by its own signal handlers."""

    def __init__(self, app: FastAPI, drain_seconds: float) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            server_header=False,
            ws="none",
            lifespan="off",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            # Only a backstop: after the drain time the engine's end ends every request with an error.
            timeout_graceful_shutdown=math.ceil(drain_seconds) + 1,
        )
        super().__init__(config)
        self._accepting = asyncio.Event()

    @classmethod
    def of(cls, config: LaunchConfig, engine: ZmqEngineClient) -> Self:
        """The web half of a launch, in front of its engine. Blocks for up to seconds.

        Raises:
            ModelLoadError, ConfigError: as `load_text_side`.
        """
        text = load_text_side(config)
        context = ServerContext(
            engine=engine,
            tokenizer=text.tokenizer,
            chat_template=text.chat_template,
            served_model_name=config.server.served_model_name,
            phase=engine.phase,
            limits=Limits(
                max_body_bytes=config.server.max_body_bytes,
                strict_fields=config.server.strict_fields,
            ),
        )
        return cls(create_app(context), config.server.drain_seconds)

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
        await self.serve(sockets=[listener])

    def stop(self) -> None:
        """Takes no more connections, and lets the open requests end."""
        self.should_exit = True

    def give_up(self) -> None:
        """No longer waits for open requests."""
        self.should_exit = True
        self.force_exit = True
