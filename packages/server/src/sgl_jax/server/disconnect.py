"""Noticing that a client went away, and stopping its work in that moment."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request, Response
from starlette.types import Receive, Scope

T = TypeVar("T")

CLIENT_CLOSED_REQUEST = 499


class ClientGoneError(Exception):
    """The client closed its connection; nobody waits for the answer."""


async def wait_for_disconnect(receive: Receive) -> None:
    """Returns when the client is gone. The body must have been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_disconnected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` beside a watch on the connection, and cancels it when the client leaves.

    Returns or raises only when the clean-up of `work` is done.

    Raises:
        ClientGoneError: the client left first.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(wait_for_disconnect(receive))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGoneError
        return working.result()
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


def mark_client_gone(scope: Scope) -> None:
    """Notes that nobody receives the answer; the access log says 499."""
    scope.setdefault("state", {})["client_gone"] = True


def is_client_gone(scope: Scope) -> bool:
    """Whether `mark_client_gone` was called."""
    return bool(scope.get("state", {}).get("client_gone"))


async def on_client_gone(request: Request, _error: Exception) -> Response:
    """Exception handler for a client that left before its answer began. The response goes nowhere."""
    mark_client_gone(request.scope)
    return Response(status_code=CLIENT_CLOSED_REQUEST)
