"""One log format for everything: our own loggers, uvicorn's and the engine process's."""

from __future__ import annotations

import logging
import sys

_SHORT_NAMES = {"uvicorn.access": "http", "uvicorn.error": "http", "uvicorn": "http"}
_PROBES = frozenset({"/health", "/metrics", "/ping", "/readyz"})
_FORMAT = "%(asctime)s %(levelname)-8s %(part)-6s %(message)s"


class PartFormatter(logging.Formatter):
    """Replaces dotted logger names by the part of the system that speaks: `server`, `engine`, `http`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line: date and time, level, part, message."""
        record.part = _part(record.name)
        return super().format(record)


class ProbesToDebug(logging.Filter):
    """Lowers the access log's lines about probes to debug: they come every second and say nothing new."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is logged. Its arguments are uvicorn's: client, method, path, version, status."""
        if isinstance(record.args, tuple) and len(record.args) > 2:
            path = str(record.args[2]).partition("?")[0]
            if record.args[1] in ("GET", "HEAD") and path in _PROBES:
                record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return logging.getLogger(record.name).isEnabledFor(record.levelno)


def configure(level: str) -> None:
    """Sends every log record of this process from `level` on to stderr, in the one format.

    Args:
        level: a lower-case level name such as `info`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PartFormatter(_FORMAT, datefmt="%Y-%m-%d %H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    # Libraries stay at warning: jax's debug log alone would bury ours.
    logging.getLogger("sgl_jax").setLevel(level.upper())
    access = logging.getLogger("uvicorn.access")
    access.setLevel(level.upper())
    access.filters[:] = [ProbesToDebug()]
    logging.getLogger("uvicorn.error").setLevel(max(logging.WARNING, logging.getLogger("sgl_jax").level))


def _part(name: str) -> str:
    if name in _SHORT_NAMES:
        return _SHORT_NAMES[name]
    package, _, rest = name.partition(".")
    return rest.partition(".")[0] if package == "sgl_jax" and rest else package
