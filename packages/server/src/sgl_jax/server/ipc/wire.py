"""What crosses the process boundary, and how: msgspec tagged unions as msgpack. Never pickle.

Three directions: `WorkerSetup` goes down as one JSON line on the worker's stdin; a `Command` goes
down and an `Event` comes up, each as one ZMQ frame. The structs are those of `engine.messages`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.errors import ConfigError, EngineDeadError, ModelLoadError, SglJaxError
from sgl_jax.engine.messages import (
    AbortRequest,
    Control,
    ControlReply,
    EngineInfo,
    GenerateRequest,
    Phase,
    StepOutputs,
)
from sgl_jax.server.logs import DEFAULT_LOG, LogConfig

EXIT_REPORTED = 3
"""The worker's exit code after a `WorkerFailed` message: the reason is on its way or already known."""

Cause = Literal["config", "model_load", "internal"]


class WireError(SglJaxError):
    """Bytes that are no message of ours: the two processes do not speak the same version."""


class WorkerSetup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line on the worker's stdin.

    Attributes:
        folder: the private folder that holds both sockets.
        commands: ZMQ address that the worker pulls commands from.
        events: ZMQ address that the worker pushes events to.
        log: how the worker logs.
    """

    engine: EngineConfig
    folder: str
    commands: str
    events: str
    log: LogConfig = DEFAULT_LOG


class WorkerFailed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The worker's last message: why it could not start, or why it cannot go on.

    Attributes:
        cause: whose fault: the flags', the model folder's, or ours.
        message: for the user; no traceback.
    """

    cause: Cause
    message: str

    @classmethod
    def from_exception(cls, error: Exception) -> WorkerFailed:
        """Keeps the message of errors raised on purpose, and the kind of all others."""
        if isinstance(error, ConfigError):
            return cls(cause="config", message=str(error))
        if isinstance(error, ModelLoadError):
            return cls(cause="model_load", message=str(error))
        return cls(cause="internal", message=f"{type(error).__name__}: {error}")

    def to_exception(self) -> SglJaxError:
        """The error to raise in the web process."""
        kinds = {"config": ConfigError, "model_load": ModelLoadError}
        return kinds.get(self.cause, EngineDeadError)(self.message)


Command = GenerateRequest | AbortRequest | Control
Event = StepOutputs | Phase | EngineInfo | ControlReply | WorkerFailed

_encoder = msgspec.msgpack.Encoder()
_command_decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_event_decoder: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)


def encode(message: Command | Event) -> bytes:
    """One message as one frame."""
    return _encoder.encode(message)


def decode_command(frame: bytes) -> Command:
    """Raises `WireError` for anything that is no `Command`."""
    try:
        return _command_decoder.decode(frame)
    except msgspec.DecodeError as error:
        raise WireError(f"not a command: {error}") from error


def decode_event(frame: bytes) -> Event:
    """Raises `WireError` for anything that is no `Event`."""
    try:
        return _event_decoder.decode(frame)
    except msgspec.DecodeError as error:
        raise WireError(f"not an event: {error}") from error


def encode_setup(setup: WorkerSetup) -> bytes:
    """One line of JSON with its newline."""
    return msgspec.json.encode(setup) + b"\n"


def decode_setup(line: bytes) -> WorkerSetup:
    """Raises `WireError` for anything that is no `WorkerSetup`."""
    try:
        return msgspec.json.decode(line, type=WorkerSetup)
    except msgspec.DecodeError as error:
        raise WireError(f"not a worker's setup: {error}") from error
