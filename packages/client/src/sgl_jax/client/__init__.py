"""The SGL-JAX client: typed sync and async access to an OpenAI-compatible server.

from sgl_jax.client import SglJax

client = SglJax("http://127.0.0.1:30000")
print(client.chat("Hello!").text)
"""

from __future__ import annotations

from sgl_jax.client._async_client import AsyncSglJax
from sgl_jax.client._client import SglJax
from sgl_jax.client._exceptions import (
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
    RequestTooLargeError,
    ServiceUnavailableError,
    SglJaxClientError,
    StreamError,
)

__all__ = [
    "APIConnectionError",
    "APIError",
    "APITimeoutError",
    "AsyncSglJax",
    "AuthenticationError",
    "BadRequestError",
    "InternalServerError",
    "InvalidResponseError",
    "NotFoundError",
    "NotReadyError",
    "PermissionDeniedError",
    "RateLimitError",
    "RequestTooLargeError",
    "ServiceUnavailableError",
    "SglJax",
    "SglJaxClientError",
    "StreamError",
]
