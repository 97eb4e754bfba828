"""What the web process is told. The engine's half is `sgl_jax.engine.config.engine_config.EngineConfig`."""

from __future__ import annotations

from typing import Literal

import msgspec

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.errors import ConfigError

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
ON_ENGINE_DEATH = ("exit", "stay")


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything the web process is told, spelled like the command line (`--served-model-name`).

    Attributes:
        served_model_name: the model's name in the API.
        host: address to listen on; the default is reachable from this machine only.
        port: TCP port; 0 takes any free one.
        chat_template: a Jinja file (or the template itself) to use instead of the model's own.
        max_body_bytes: larger request bodies are refused with 413.
        strict_fields: refuse request fields that the server does not know, rather than ignore them.
        log_level: least severe level that is logged.
        drain_seconds: how long running requests may go on after SIGTERM or Ctrl-C.
        on_engine_death: `exit` ends the server with an error; `stay` keeps answering /health.
    """

    served_model_name: str
    host: str = "127.0.0.1"
    port: int = 30000
    chat_template: str | None = None
    max_body_bytes: int = 32 * 1024 * 1024
    strict_fields: bool = False
    log_level: str = "info"
    drain_seconds: float = 2.0
    on_engine_death: Literal["exit", "stay"] = "exit"

    def __post_init__(self) -> None:
        if not self.served_model_name:
            raise ConfigError("--served-model-name must not be empty.")
        if not 0 <= self.port < 2**16:
            raise ConfigError(f"--port must lie between 0 and 65535, got {self.port}.")
        if self.max_body_bytes < 1:
            raise ConfigError(f"--max-body-bytes must be at least 1, got {self.max_body_bytes}.")
        if self.drain_seconds < 0:
            raise ConfigError(f"--drain-seconds must be at least 0, got {self.drain_seconds}.")
        if self.log_level not in LOG_LEVELS:
            raise ConfigError(f"--log-level must be one of {', '.join(LOG_LEVELS)}, got {self.log_level!r}.")
        if self.on_engine_death not in ON_ENGINE_DEATH:
            raise ConfigError(f"--on-engine-death must be one of {', '.join(ON_ENGINE_DEATH)}.")


class LaunchConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One whole command line: the web process's half, the engine's half, and what to say at start-up.

    Attributes:
        notices: lines for the log about flags that were accepted without effect.
    """

    server: ServerConfig
    engine: EngineConfig
    notices: tuple[str, ...] = ()
