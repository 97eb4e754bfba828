"""Every error that the engine raises on purpose. Each message tells the reader what to do next."""

from __future__ import annotations


class SglJaxError(Exception):
    """Base of all errors raised by SGL-JAX."""


class InvalidRequestError(SglJaxError, ValueError):
    """The caller's request cannot be served as written; the server answers 400.

    Attributes:
        param: path of the offending field (`"temperature"`, `"messages[2].role"`), or None.
    """

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class ContextLengthError(InvalidRequestError):
    """Prompt plus requested output do not fit the context window or the KV pool."""


class ProfileError(SglJaxError):
    """A profile cannot be started, or there is none to stop."""


class QueueFullError(SglJaxError):
    """The waiting queue is at its bound; the server answers 429 with Retry-After."""


class ConfigError(SglJaxError):
    """A flag, or a combination of flags, that cannot work here."""


class ModelLoadError(SglJaxError):
    """The model folder or file is missing, incomplete, damaged or of an unknown kind."""


class ChatTemplateError(InvalidRequestError):
    """The model's chat template refused these messages, or there is no template."""


class EngineDeadError(SglJaxError):
    """The engine stopped; the request was not finished. The server answers 503."""
