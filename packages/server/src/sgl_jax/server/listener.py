"""Binding the port, before anything slow happens."""

from __future__ import annotations

import errno
import socket

from sgl_jax.engine.errors import ConfigError

BACKLOG = 2048
_PORTS_TO_TRY = 100


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Connections made before the server accepts them wait in its backlog.

    Raises:
        ConfigError: the port is taken (names the next free one), not allowed, or the host is not ours.
    """
    try:
        return _bind(host, port)
    except socket.gaierror as error:
        raise ConfigError(f"--host={host} cannot be resolved ({error.strerror}); try --host=127.0.0.1.") from error
    except OSError as error:
        raise ConfigError(_explain(host, port, error)) from error


def next_free_port(host: str, port: int) -> int | None:
    """The first port above `port` that can be bound, looking at the next hundred."""
    for candidate in range(port + 1, min(port + 1 + _PORTS_TO_TRY, 2**16)):
        try:
            _bind(host, candidate).close()
        except OSError:
            continue
        return candidate
    return None


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def _explain(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        free = next_free_port(host, port)
        way_out = f"--port={free} is free" if free is not None else "or choose another with --port"
        return f"Port {port} on {host} is in use by another process. Stop that one, or start here: {way_out}."
    if error.errno == errno.EACCES:
        return f"This user may not listen on port {port}; choose one above 1023, such as --port=30000."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host={host} is no address of this machine; try --host=127.0.0.1, or 0.0.0.0 for all addresses."
    return f"Cannot listen on {host}:{port}: {error.strerror}."
