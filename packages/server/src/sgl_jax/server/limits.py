"""Bounds that protect the web process, and the bounded reading of a request body."""

from __future__ import annotations

import asyncio

import msgspec
from fastapi import Request
from starlette.requests import ClientDisconnect

from sgl_jax.server.disconnect import ClientGoneError
from sgl_jax.server.errors import ApiError

_CLOSE = {"Connection": "close"}  # the rest of the body is still on the wire: this connection is of no more use


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one client may cost.

    Attributes:
        max_body_bytes: larger request bodies are refused with 413.
        body_seconds: a body that takes longer to arrive is refused with 408.
        max_sequences: prompts times `n` of one HTTP request, at most.
        queued_sequences: how many the engine lets wait (`--max-queued-requests`).
        request_seconds: a request that takes longer to compute is ended with 408; None is no limit.
        keep_alive_seconds: silence on an event stream after which a comment is sent.
        health_seconds: how long `/health_generate` waits for its token.
        strict_fields: refuse unknown request fields instead of ignoring them with a warning.
        stored_responses: answers of `/v1/responses` that are kept at most; 0 keeps none.
        stored_response_bytes: what they may take, about.
        stored_response_seconds: how long one is kept after its last use.
    """

    max_body_bytes: int = 32 * 1024 * 1024
    body_seconds: float = 120.0
    max_sequences: int = 4096
    queued_sequences: int = 4096
    request_seconds: float | None = None
    keep_alive_seconds: float = 15.0
    health_seconds: float = 20.0
    strict_fields: bool = False
    stored_responses: int = 4096
    stored_response_bytes: int = 256 * 1024 * 1024
    stored_response_seconds: float = 3600.0


async def read_body(request: Request, limits: Limits) -> bytes:
    """The whole body, never holding more than the limit.

    Raises:
        ApiError: 408 when it takes too long, 413 when it is too large.
        ClientGoneError: the client left before the end.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limits.max_body_bytes:
        raise _too_large(limits)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limits.max_body_bytes:
                    raise _too_large(limits)
                chunks.append(chunk)
    except TimeoutError:
        message = f"The request body did not arrive within {limits.body_seconds:g} seconds."
        raise ApiError(408, message, code="request_timeout", headers=_CLOSE) from None
    except ClientDisconnect:
        raise ClientGoneError from None
    return b"".join(chunks)


def _too_large(limits: Limits) -> ApiError:
    message = f"The request body is larger than {limits.max_body_bytes} bytes (--max-body-bytes)."
    return ApiError(413, message, code="request_too_large", headers=_CLOSE)
