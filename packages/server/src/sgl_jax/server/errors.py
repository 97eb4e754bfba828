"""The one error shape, `{"error": {message, type, param, code}}` (Anthropic's on its routes), and every way into it."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from sgl_jax.engine.errors import (
    ContextLengthError,
    EngineDeadError,
    InvalidRequestError,
    QueueFullError,
    SglJaxError,
)
from sgl_jax.engine.messages import Finish
from sgl_jax.server.anthropic.error_body import anthropic_error, speaks_anthropic

RETRY_SECONDS = 1
"""What `Retry-After` says when the queue is full or the engine is not there."""

INVALID_REQUEST = "invalid_request_error"

_ENCODER = msgspec.json.Encoder()


class ErrorDetail(msgspec.Struct, frozen=True):
    """What went wrong, for people (`message`) and for programs (`type`, `param`, `code`)."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorResponse(msgspec.Struct, frozen=True):
    """The body of every answer that is not a success."""

    error: ErrorDetail


class ApiError(Exception):
    """An answer other than success, raised anywhere below a route.

    Attributes:
        status: HTTP status.
        detail: the error object.
        headers: extra response headers, e.g. `Retry-After`.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = INVALID_REQUEST,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.detail = ErrorDetail(message, type, param, code)
        self.headers = dict(headers or {})


def bad_request(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A 400: the request cannot be served as written."""
    return ApiError(400, message, param=param, code=code)


def unavailable(message: str) -> ApiError:
    """A 503 with `Retry-After`: the engine is starting, or gone."""
    return ApiError(503, message, type="service_unavailable_error", code="unavailable", headers=_retry_after())


def queue_full(message: str) -> ApiError:
    """A 429 with `Retry-After`: too many requests wait already."""
    return ApiError(429, message, type="rate_limit_error", code="queue_full", headers=_retry_after())


def internal_error() -> ApiError:
    """A 500. Its message says nothing of the cause; the log does."""
    return ApiError(500, "The server failed to handle this request; its log says why.", type="server_error")


def from_exception(error: Exception, renames: Mapping[str, str] | None = None) -> ApiError:
    """The answer for an error raised on purpose; anything unforeseen becomes a 500.

    Args:
        error: what was raised.
        renames: the engine's field names -> the names the caller used.
    """
    match error:
        case ApiError():
            return error
        case ContextLengthError():
            return _refused(str(error), error.param, "context_length_exceeded", renames)
        case InvalidRequestError():
            return _refused(str(error), error.param, None, renames)
        case QueueFullError():
            return queue_full(str(error))
        case EngineDeadError():
            return unavailable(str(error))
        case _:
            return internal_error()


def from_finish(finish: Finish, renames: Mapping[str, str] | None = None) -> ApiError:
    """The answer for a sequence that the engine ended with reason `error`."""
    message = finish.message or "The engine could not finish this request."
    match finish.code:
        case "context_length":
            return _refused(message, finish.param, "context_length_exceeded", renames)
        case "invalid_request":
            return _refused(message, finish.param, None, renames)
        case "queue_full":
            return queue_full(message)
        case "engine_dead":
            return unavailable(message)
        case _:
            return ApiError(500, message, type="server_error", code=finish.code)


def encode_error(error: ApiError) -> bytes:
    """The error as JSON."""
    return _ENCODER.encode(ErrorResponse(error.detail))


def error_response(error: ApiError, path: str) -> Response:
    """The error as an HTTP answer, in the shape that clients of this path expect."""
    if speaks_anthropic(path):
        body = _ENCODER.encode(anthropic_error(error.status, error.detail.message))
    else:
        body = encode_error(error)
    return Response(body, error.status, error.headers, media_type="application/json")


def install_error_handlers(app: FastAPI) -> None:
    """Makes every error that leaves a route, or that routing itself raises, take the one shape."""
    app.add_exception_handler(ApiError, _on_known_error)
    app.add_exception_handler(SglJaxError, _on_known_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)


async def _on_known_error(request: Request, error: Exception) -> Response:
    return error_response(from_exception(error), request.url.path)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message, code, headers = str(error.detail), None, error.headers
    if error.status_code == 404:
        message, code = f"There is no route {request.url.path}; GET /docs lists what there is.", "route_not_found"
    elif error.status_code == 405:
        allowed = ", ".join(_methods(request))
        headers = {"Allow": allowed}
        message, code = f"{request.url.path} does not take {request.method}; use {allowed}.", "method_not_allowed"
    return error_response(ApiError(error.status_code, message, code=code, headers=headers), request.url.path)


def _methods(request: Request) -> list[str]:
    """What the path takes; a path may have several routes, of which the error that came here knows one."""
    asked = ({**request.scope, "method": method} for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))
    routes = request.app.router.routes
    return [one["method"] for one in asked if any(route.matches(one)[0] is Match.FULL for route in routes)]


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"][1:]) or None
    return error_response(bad_request(f"{param}: {first['msg']}", param), request.url.path)


def _refused(message: str, param: str | None, code: str | None, renames: Mapping[str, str] | None) -> ApiError:
    if param and renames and (ours := renames.get(param)):
        message, param = re.sub(rf"\b{re.escape(param)}(?= must|=)", ours, message), ours
    return bad_request(message, param, code)


def _retry_after() -> dict[str, str]:
    return {"Retry-After": str(RETRY_SECONDS)}
