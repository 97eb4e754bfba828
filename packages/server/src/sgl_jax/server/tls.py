"""HTTPS: the certificate, read before anything slow happens."""

from __future__ import annotations

import ssl

from sgl_jax.engine.errors import ConfigError
from sgl_jax.server.config import ServerConfig


def tls_context(config: ServerConfig) -> ssl.SSLContext | None:
    """What to listen with; None for plain HTTP. TLS 1.2 is the oldest version that is spoken.

    Raises:
        ConfigError: certificate and key cannot be read, or do not belong together.
    """
    if config.ssl_certfile is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # An empty password rather than none: OpenSSL would ask for it on the terminal.
        context.load_cert_chain(config.ssl_certfile, config.ssl_keyfile, config.ssl_keyfile_password or "")
    except ssl.SSLError as error:
        raise ConfigError(
            f"--ssl-certfile={config.ssl_certfile} and its private key cannot be used: {error.reason or error}. Both "
            "must be PEM and belong together, and an encrypted key needs --ssl-keyfile-password."
        ) from error
    except OSError as error:
        shown = " or ".join(f"--ssl-{name}={path}" for name, path in _files(config))
        raise ConfigError(f"{shown} cannot be read: {error.strerror}.") from error
    return context


def _files(config: ServerConfig) -> list[tuple[str, str]]:
    files = (("certfile", config.ssl_certfile), ("keyfile", config.ssl_keyfile))
    return [(name, path) for name, path in files if path is not None]
