"""Errors in Anthropic's shape, on Anthropic's routes."""

from __future__ import annotations

from typing import Literal

import msgspec

ROUTE = "/v1/messages"
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class AnthropicErrorDetail(msgspec.Struct, frozen=True):
    """What went wrong: the kind for programs, the message for people."""

    type: str
    message: str


class AnthropicErrorResponse(msgspec.Struct, frozen=True):
    """The body of every answer of these routes that is not a success."""

    error: AnthropicErrorDetail
    type: Literal["error"] = "error"


def speaks_anthropic(path: str) -> bool:
    """Whether a path is one of Anthropic's, where clients expect their own shape of errors."""
    return path == ROUTE or path.startswith(f"{ROUTE}/")


def anthropic_error(status: int, message: str) -> AnthropicErrorResponse:
    """The body for an HTTP status."""
    kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return AnthropicErrorResponse(AnthropicErrorDetail(kind, message))
