"""ASGI layer that lets in only those who bring a key, where there is one."""

from __future__ import annotations

import hmac

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from sgl_jax.server.errors import ApiError, error_response

OPEN = frozenset(
    {
        "/",
        "/docs",
        "/health",
        "/health_generate",
        "/metrics",
        "/openapi.json",
        "/ping",
        "/readyz",
        "/version",
    }
)
"""Whoever watches the server has no key, and a browser's first request cannot bring one."""
OPEN_FOLDER = "/page/"
"""Files of the page at `/`; what that asks of the server needs a key as ever."""
ADMIN = frozenset({"/continue_generation", "/flush_cache", "/pause_generation", "/start_profile", "/stop_profile"})
"""What changes the server for everybody."""


class Keys(msgspec.Struct, frozen=True):
    """The server's keys.

    Attributes:
        api: needed for everything but `OPEN` and `OPEN_FOLDER`; None lets everybody in.
        admin: needed for `ADMIN`, and good for the rest, too; None makes `ADMIN` like the rest.
    """

    api: str | None = None
    admin: str | None = None


class AuthMiddleware:
    """Answers 401 to a request without a valid key, and 403 to one whose key is not the admin's.

    Keys come as `Authorization: Bearer KEY`, or as `x-api-key: KEY`, as Anthropic's clients send it.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection event."""
        if scope["type"] == "http" and (refusal := refuse(self._keys, scope["path"], _given(scope))) is not None:
            await error_response(refusal, scope["path"])(scope, receive, send)
            return
        await self._app(scope, receive, send)


def refuse(keys: Keys, path: str, given: bytes | None) -> ApiError | None:
    """Why a request may not come in, or None when it may.

    Args:
        given: the key that it brought.
    """
    # A route's pattern also takes a line feed at the end.
    path = path.rstrip("\n")
    for_admin = path in ADMIN and keys.admin is not None
    is_open = path in OPEN or path.startswith(OPEN_FOLDER)
    if is_open or not (for_admin or keys.api is not None):
        return None
    # Both are compared, and in constant time: how long it takes says nothing about them.
    is_admin, is_user = _same(given, keys.admin), _same(given, keys.api)
    if is_admin or (is_user and not for_admin):
        return None
    if is_user:
        return ApiError(403, f"{path} needs the server's admin key.", type="permission_error", code="admin_only")
    wanted = "admin key" if for_admin else "API key"
    how = f"Send the server's {wanted} as 'Authorization: Bearer KEY'."
    message = f"No API key was sent. {how}" if given is None else f"The API key is not valid. {how}"
    headers = {"WWW-Authenticate": "Bearer"}
    return ApiError(401, message, type="authentication_error", code="invalid_api_key", headers=headers)


def _same(given: bytes | None, key: str | None) -> bool:
    return hmac.compare_digest(given or b"", (key or "").encode()) and given is not None


def _given(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            if scheme.lower() == b"bearer":
                return bytes(key.strip()) or None
        elif name == b"x-api-key":
            return bytes(value.strip()) or None
    return None
