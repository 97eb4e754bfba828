"""Outermost ASGI layer: an id for every request, and a decent end for what nobody caught."""

from __future__ import annotations

import logging
import re
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sgl_jax.server.errors import error_response, internal_error

HEADER = "x-request-id"
_SANE = re.compile(rb"^[\x21-\x7e]{1,128}$")

logger = logging.getLogger(__name__)


class RequestIdMiddleware:
    """Answers every request with `x-request-id`: the caller's own if it sent a sane one, else a new one.

    It also turns an unforeseen exception into the one error shape, because only here does the log
    line carry the id that the client holds.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection event."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id.decode()
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": [*message["headers"], (HEADER.encode(), request_id)]}
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            logger.exception("%s %s failed (request %s)", scope["method"], scope["path"], request_id.decode())
            if started:  # too late for a status: let the HTTP server cut the connection
                raise
            await error_response(internal_error(), scope["path"])(scope, receive, send_with_id)


def request_id_of(scope: Scope) -> str:
    """The request's id, for whoever is further in."""
    request_id: str = scope.get("state", {}).get("request_id", "")
    return request_id


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == HEADER.encode() and _SANE.match(value):
            return bytes(value)
    return uuid.uuid4().hex.encode()
