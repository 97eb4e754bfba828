"""What the web process is told. The engine's half is `sgl_jax.engine.config.engine_config.EngineConfig`."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.errors import ConfigError
from sgl_jax.server.logs import LOG_FORMATS, LOG_LEVELS, LogConfig
from sgl_jax.server.parsing.formats import (
    AUTO,
    REASONING_FORMATS,
    REASONING_NAMES,
    TOOL_FORMATS,
    TOOL_NAMES,
    find_format,
)

ON_ENGINE_DEATH = ("restart", "exit", "stay")


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything the web process is told, spelled like the command line (`--served-model-name`).

    Attributes:
        served_model_name: the model's name in the API.
        host: address to listen on; the default is reachable from this machine only.
        port: TCP port; 0 takes any free one.
        chat_template: a Jinja file (or the template itself) to use instead of the model's own.
        tool_call_parser: format of the model's tool calls; `auto` asks the chat template, `none` reads none.
        reasoning_parser: format of its reasoning, likewise.
        ssl_certfile: certificate to serve HTTPS with; None serves HTTP.
        ssl_keyfile: its private key, if that is not in the same file; `ssl_keyfile_password` opens it.
        api_key: what requests must bring, see `auth.Keys`; `admin_api_key` likewise.
        cors_allow_origins: origins, with commas between, whose pages may call the server; `*` is all of them.
        max_body_bytes: larger request bodies are refused with 413.
        max_body_seconds: those that take longer to arrive are refused with 408.
        max_request_seconds: what takes longer to compute is ended with 408.
        max_stall_seconds: a client that takes in nothing of its stream for so long is cut off.
        max_stored_responses: answers of `/v1/responses` that are kept at most; 0 keeps none.
        strict_fields: refuse request fields that the server does not know, rather than ignore them.
        incremental_stream_output: `/generate` streams deltas unless a request says otherwise.
        log_level: least severe level that is logged.
        log_format: `text`, or `json` for one object a line.
        log_file: takes the log beside stderr.
        access_log: whether every answer is logged.
        enable_metrics: whether `/metrics` is answered.
        disable_ui: leave out the page at `/`.
        otlp_traces_endpoint: URL that takes OpenTelemetry traces (OTLP over HTTP); None makes none.
        stream_interval: tokens that an event of a stream waits for, but for the first event.
        drain_seconds: how long running requests may go on after SIGTERM or Ctrl-C.
        on_engine_death: `restart` starts another engine; `exit` ends the server with an error; `stay` keeps answering
            /health.
        max_restarts: engines started in a row of which none answers a request, before the server gives up.
    """

    served_model_name: str
    host: str = "127.0.0.1"
    port: int = 30000
    chat_template: str | None = None
    tool_call_parser: str = AUTO
    reasoning_parser: str = AUTO
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_keyfile_password: str | None = None
    api_key: str | None = None
    admin_api_key: str | None = None
    cors_allow_origins: str | None = None
    max_body_bytes: int = 32 * 1024 * 1024
    max_body_seconds: float = 120.0
    max_request_seconds: float | None = None
    max_stall_seconds: float = 60.0
    max_stored_responses: int = 4096
    strict_fields: bool = False
    incremental_stream_output: bool = False
    log_level: str = "info"
    log_format: str = "text"
    log_file: str | None = None
    access_log: bool = True
    enable_metrics: bool = True
    disable_ui: bool = False
    otlp_traces_endpoint: str | None = None
    stream_interval: int = 1
    drain_seconds: float = 2.0
    on_engine_death: Literal["restart", "exit", "stay"] = "restart"
    max_restarts: int = 5

    def __post_init__(self) -> None:
        if not self.served_model_name:
            raise ConfigError("--served-model-name must not be empty.")
        if not self.host:
            raise ConfigError("--host must not be empty; 0.0.0.0 is all addresses of this machine.")
        if not 0 <= self.port < 2**16:
            raise ConfigError(f"--port must lie between 0 and 65535, got {self.port}.")
        if self.max_body_bytes < 1:
            raise ConfigError(f"--max-body-bytes must be at least 1, got {self.max_body_bytes}.")
        if self.stream_interval < 1:
            raise ConfigError(f"--stream-interval must be at least 1, got {self.stream_interval}.")
        if not 0 <= self.drain_seconds < math.inf:
            raise ConfigError(f"--drain-seconds must be a number of at least 0, got {self.drain_seconds}.")
        if self.ssl_keyfile is not None and self.ssl_certfile is None:
            raise ConfigError("--ssl-keyfile needs --ssl-certfile: the certificate that the key belongs to.")
        for flag, key in (("--api-key", self.api_key), ("--admin-api-key", self.admin_api_key)):
            if key is not None and (not key or not key.isascii() or key != key.strip()):
                raise ConfigError(f"{flag} must be ASCII text without spaces around it; try 'openssl rand -hex 32'.")
        for name in ("max_body_seconds", "max_request_seconds", "max_stall_seconds"):
            if (seconds := getattr(self, name)) is not None and not seconds > 0:
                raise ConfigError(f"--{name.replace('_', '-')} must be above 0, got {seconds}.")
        if self.max_stored_responses < 0:
            raise ConfigError(f"--max-stored-responses must be 0 or more, got {self.max_stored_responses}.")
        if self.log_level not in LOG_LEVELS:
            raise ConfigError(f"--log-level must be one of {', '.join(LOG_LEVELS)}, got {self.log_level!r}.")
        if self.log_format not in LOG_FORMATS:
            raise ConfigError(f"--log-format must be one of {', '.join(LOG_FORMATS)}, got {self.log_format!r}.")
        try:
            flag, names = "--tool-call-parser", TOOL_NAMES
            find_format(TOOL_FORMATS, self.tool_call_parser, None)
            flag, names = "--reasoning-parser", REASONING_NAMES
            find_format(REASONING_FORMATS, self.reasoning_parser, None)
        except KeyError as error:
            raise ConfigError(f"{flag} must be one of {', '.join(names)}, got {error.args[0]!r}.") from None
        if not (self.otlp_traces_endpoint or "http://").startswith(("http://", "https://")):
            raise ConfigError(f"--otlp-traces-endpoint must be an HTTP URL, got {self.otlp_traces_endpoint!r}.")
        if self.on_engine_death not in ON_ENGINE_DEATH:
            raise ConfigError(f"--on-engine-death must be one of {', '.join(ON_ENGINE_DEATH)}.")
        if self.max_restarts < 1:
            raise ConfigError(f"--max-restarts must be at least 1, got {self.max_restarts}; use --no-restart for none.")

    @property
    def origins(self) -> tuple[str, ...]:
        """`cors_allow_origins`, one by one."""
        return tuple(origin.strip() for origin in (self.cors_allow_origins or "").split(",") if origin.strip())

    @property
    def log(self) -> LogConfig:
        """How both processes log."""
        return LogConfig(level=self.log_level, format=self.log_format, file=self.log_file)

    @property
    def restarts(self) -> int:
        """How many engines in a row may be started in the place of dead ones."""
        return self.max_restarts if self.on_engine_death == "restart" else 0


class LaunchConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One whole command line: the web process's half, the engine's half, and what to say at start-up.

    Attributes:
        notices: lines for the log about flags that were accepted without effect.
    """

    server: ServerConfig
    engine: EngineConfig
    notices: tuple[str, ...] = ()
