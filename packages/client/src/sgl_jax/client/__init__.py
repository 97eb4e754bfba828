"""The SGL-JAX client: typed sync and async access to an OpenAI-compatible server.

from sgl_jax.client import SglJax

client = SglJax("http://127.0.0.1:30000")
print(client.chat("Hello!").text)
"""

from __future__ import annotations

from sgl_jax.client._async_client import AsyncSglJax
from sgl_jax.client._client import SglJax
from sgl_jax.client._exceptions import (
    AnswerError,
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    InvalidResponseError,
    NotFoundError,
    NotReadyError,
    PermissionDeniedError,
    RateLimitError,
    RefusedAnswerError,
    RequestTooLargeError,
    ServiceUnavailableError,
    SglJaxClientError,
    StreamError,
    ToolLimitError,
    TruncatedAnswerError,
    UnfitAnswerError,
)

__all__ = [
    "APIConnectionError",
    "APIError",
    "APITimeoutError",
    "AnswerError",
    "AsyncSglJax",
    "AuthenticationError",
    "BadRequestError",
    "InternalServerError",
    "InvalidResponseError",
    "NotFoundError",
    "NotReadyError",
    "PermissionDeniedError",
    "RateLimitError",
    "RefusedAnswerError",
    "RequestTooLargeError",
    "ServiceUnavailableError",
    "SglJax",
    "SglJaxClientError",
    "StreamError",
    "ToolLimitError",
    "TruncatedAnswerError",
    "UnfitAnswerError",
]
