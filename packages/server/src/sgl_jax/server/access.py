"""ASGI layer that counts every answer, and writes a line about it to the log."""

from __future__ import annotations

import logging
import time
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sgl_jax.server.disconnect import CLIENT_CLOSED_REQUEST, is_client_gone
from sgl_jax.server.metrics.counters import Counters
from sgl_jax.server.request_id import request_id_of

logger = logging.getLogger("sgl_jax.http")

PROBES = frozenset({"/get_server_info", "/health", "/metrics", "/ping", "/readyz"})
"""They come every few seconds, or every second from the page at `/`, and say nothing new: only a debug log has them."""
METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
"""Clients may send any word; the others are counted as one, lest the counters grow without bound."""
NO_ROUTE = "none"


class AccessMiddleware:
    """Notes method, route, status and duration of every answer, once its last byte is sent.

    Args:
        counters: where answers are counted.
        log: whether they are logged, too.
    """

    def __init__(self, app: ASGIApp, counters: Counters, log: bool) -> None:
        self._app = app
        self._counters = counters
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection event."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting_status)
        except BaseException:
            status = 500
            raise
        finally:
            self._note(scope, CLIENT_CLOSED_REQUEST if is_client_gone(scope) else status, started)

    def _note(self, scope: Scope, status: int, started: float) -> None:
        method, path = scope["method"], scope["path"]
        route = getattr(scope.get("route"), "path", NO_ROUTE)
        self._counters.responses[method if method in METHODS else "other", route, str(status)] += 1
        level = logging.DEBUG if method in ("GET", "HEAD") and path in PROBES else logging.INFO
        if not self._log or not logger.isEnabledFor(level):
            return
        seconds = time.perf_counter() - started
        host, port = scope.get("client") or ("-", 0)
        fields = {
            "client": f"{host}:{port}",
            "method": method,
            "path": quote(path),  # it was unquoted, and may hold anything
            "status": status,
            "seconds": round(seconds, 6),
            "request_id": request_id_of(scope),
        }
        logger.log(level, "%s %s %s %d in %.3f s (%s)", *fields.values(), extra={"fields": fields})
