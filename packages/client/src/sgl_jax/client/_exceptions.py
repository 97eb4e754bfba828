"""The error tree. Whatever goes wrong in a call is one of these, with the request's id.

SglJaxClientError
├── APIError                      the server answered with an error
│   ├── BadRequestError           400: the request cannot be served as written
│   ├── AuthenticationError       401: the key is missing or wrong
│   ├── PermissionDeniedError     403: the key may not do this
│   ├── NotFoundError             404: no such model or route
│   ├── RequestTooLargeError      413: the body is over the server's limit
│   ├── RateLimitError            429: the queue is full
│   └── InternalServerError       5xx: the server failed
│       └── ServiceUnavailableError   503: starting, draining, or the engine is down
├── APIConnectionError            no answer: refused, reset, name not found
│   └── APITimeoutError           no answer in time
├── InvalidResponseError          an answer that is not what the API promises
├── StreamError                   a stream that was cut, or is not server-sent events
├── AnswerError                   a whole answer, but not one that `parse` or `run_tools` can use
│   ├── TruncatedAnswerError      it stopped before its end: too few tokens, or aborted
│   ├── RefusedAnswerError        the model refused
│   ├── UnfitAnswerError          it does not fit the type that was asked for
│   └── ToolLimitError            the model still wants tools called after the last turn
└── NotReadyError                 `wait_until_ready` ran out of time
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgl_jax.client.types.chat import ChatCompletion
    from sgl_jax.client.types.params import MessageParam


class SglJaxClientError(Exception):
    """Base of all errors raised by the client.

    Attributes:
        request_id: the `X-Request-Id` of the exchange, to look for in the server's log.
    """

    def __init__(self, message: str, *, request_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.request_id = request_id

    def __str__(self) -> str:
        return f"{self.message} (request id {self.request_id})" if self.request_id else self.message


class APIError(SglJaxClientError):
    """The server answered with an error, as its status or as an event inside a stream.

    Attributes:
        status: HTTP status; None for an error event that names none.
        code: machine-readable reason (`"model_not_found"`), when the server gives one.
        param: path of the offending field (`"messages[0].role"`), when there is one.
        type: OpenAI's class of error (`"invalid_request_error"`).
        body: the decoded JSON of the answer, or its text when it is not JSON.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        type: str | None = None,
        body: Any = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id)
        self.status = status
        self.code = code
        self.param = param
        self.type = type
        self.body = body


class BadRequestError(APIError):
    """400: the request cannot be served as written; `param` says which field."""


class AuthenticationError(APIError):
    """401: the API key is missing or wrong."""


class PermissionDeniedError(APIError):
    """403: this key may not do that."""


class NotFoundError(APIError):
    """404: no such model or route."""


class RequestTooLargeError(APIError):
    """413: the body is over the server's limit."""


class RateLimitError(APIError):
    """429: the server's queue stayed full through all retries."""


class InternalServerError(APIError):
    """5xx: the server failed."""


class ServiceUnavailableError(InternalServerError):
    """503: the server is starting, draining, or has lost its engine."""


class APIConnectionError(SglJaxClientError):
    """No answer came: the connection was refused or reset, or the name is unknown."""


class APITimeoutError(APIConnectionError):
    """No answer came in time."""


class InvalidResponseError(SglJaxClientError):
    """The server's answer has the status of a success but not its shape."""


class StreamError(SglJaxClientError):
    """The stream was cut before its end, or what came is not server-sent events of JSON."""


class AnswerError(SglJaxClientError):
    """The model answered, but not with what `parse` or `run_tools` was asked for.

    Attributes:
        completion: the whole answer.
    """

    def __init__(self, message: str, *, completion: ChatCompletion, request_id: str | None = None) -> None:
        super().__init__(message, request_id=request_id)
        self.completion = completion


class TruncatedAnswerError(AnswerError):
    """The answer stopped before its end: its tokens ran out (`length`), or it was aborted."""


class RefusedAnswerError(AnswerError):
    """The model refused; `completion.message.refusal` is what it says."""


class UnfitAnswerError(AnswerError):
    """The answer does not fit the type: a validator refused it, or the server did not keep to the schema."""


class ToolLimitError(AnswerError):
    """The model still wanted tools called when the last turn was over.

    Attributes:
        messages: the conversation so far, tools' results included, to go on from.
    """

    def __init__(
        self,
        message: str,
        *,
        completion: ChatCompletion,
        messages: Sequence[MessageParam],
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, completion=completion, request_id=request_id)
        self.messages = messages


class NotReadyError(SglJaxClientError):
    """The server was not ready in time.

    Attributes:
        phase: where the server was last seen: `"compiling 3/12"`, or why it could not be reached.
    """

    def __init__(self, message: str, *, phase: str = "", request_id: str | None = None) -> None:
        super().__init__(message, request_id=request_id)
        self.phase = phase


_BY_STATUS: dict[int, type[APIError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    413: RequestTooLargeError,
    422: BadRequestError,
    429: RateLimitError,
    503: ServiceUnavailableError,
}

# Inside a stream there is no status, only the error's own words.
_BY_TYPE: dict[str, type[APIError]] = {
    "invalid_request_error": BadRequestError,
    "authentication_error": AuthenticationError,
    "permission_error": PermissionDeniedError,
    "not_found_error": NotFoundError,
    "rate_limit_error": RateLimitError,
    "server_error": InternalServerError,
    "service_unavailable_error": ServiceUnavailableError,
}


def error_from_body(body: Any, *, status: int | None, request_id: str | None) -> APIError:
    """The error that an answer's JSON (or text) describes; tolerant of other servers' shapes.

    Args:
        body: OpenAI's `{"error": {...}}`, a bare `{"message": ...}`, FastAPI's `{"detail": ...}`, or text.
        status: HTTP status; None inside a stream, where the error's own `code` may tell it.
        request_id: goes into the error.
    """
    fields = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(fields, dict):
        fields = {"message": fields}
    code = fields.get("code")
    if status is None and isinstance(code, int):
        status = code
    message = fields.get("message") or fields.get("detail") or f"The server answered {status or 'with an error'}."
    return _class_of(status, fields.get("type"))(
        message if isinstance(message, str) else str(message),
        status=status,
        code=None if code is None else str(code),
        param=_text(fields.get("param")),
        type=_text(fields.get("type")),
        body=body,
        request_id=request_id,
    )


def _class_of(status: int | None, kind: Any) -> type[APIError]:
    if status is None:
        return _BY_TYPE.get(kind, APIError) if isinstance(kind, str) else APIError
    return _BY_STATUS.get(status, InternalServerError if status >= 500 else APIError)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
