"""One log format for everything: our own loggers, uvicorn's and the engine process's."""

from __future__ import annotations

import logging
import logging.handlers
import sys
import time

import msgspec

from sgl_jax.engine.errors import ConfigError

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
LOG_FORMATS = ("text", "json")

_FORMAT = "%(asctime)s %(levelname)-8s %(part)-6s %(message)s"
_DATE_FORMAT = "%Y-%m-%d %H:%M:%S"


class LogConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a process logs.

    Attributes:
        level: least severe level that is logged, of `LOG_LEVELS`.
        format: `text` for people, `json` for programs: one object a line.
        file: takes the log beside stderr; both processes append to it, and it may be moved away (logrotate).
    """

    level: str = "info"
    format: str = "text"
    file: str | None = None


DEFAULT_LOG = LogConfig()


class TextFormatter(logging.Formatter):
    """Replaces dotted logger names by the part of the system that speaks: `server`, `engine`, `http`."""

    def __init__(self) -> None:
        super().__init__(_FORMAT, datefmt=_DATE_FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        """One line: date and time, level, part, message."""
        record.part = _part(record.name)
        return super().format(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time` (UTC), `level`, `part`, `message`, and the `fields` that a line was given."""

    def format(self, record: logging.LogRecord) -> str:
        """The line. What was raised is under `exception`, with its traceback."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry: dict[str, object] = {
            "time": f"{moment}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "part": _part(record.name),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(entry).decode()


def configure(config: LogConfig) -> None:
    """Sends every log record of this process to stderr, and to the file if there is one, in the one format.

    Raises:
        ConfigError: the file cannot be written.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if config.file is not None:
        try:
            handlers.append(logging.handlers.WatchedFileHandler(config.file, encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"--log-file={config.file} cannot be written: {error.strerror}.") from error
    for handler in handlers:
        handler.setFormatter(JsonFormatter() if config.format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = handlers
    root.setLevel(logging.WARNING)
    # Libraries stay at warning: jax's debug log alone would bury ours.
    logging.getLogger("sgl_jax").setLevel(config.level.upper())
    logging.getLogger("uvicorn.error").setLevel(max(logging.WARNING, logging.getLogger("sgl_jax").level))


def _part(name: str) -> str:
    package, _, rest = name.partition(".")
    if package == "uvicorn":
        return "http"
    return rest.partition(".")[0] if package == "sgl_jax" and rest else package
