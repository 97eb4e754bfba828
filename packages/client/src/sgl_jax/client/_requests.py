"""The client without its sockets: calls become requests, replies become results or errors.

Nothing here waits. What has to happen outside is *yielded* as a step (`Send`, `Sleep`, `Each`); the
sync and the async client perform steps, each in its own way, and send the outcome back. So the
order of events, what is retried and what is raised are written once, and tested without a server.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from sgl_jax.client._exceptions import APIError, InvalidResponseError, SglJaxClientError, error_from_body
from sgl_jax.client._options import ClientOptions, TimeoutOption
from sgl_jax.client._retries import parse_retry_after, retry_delay, status_may_repeat

if TYPE_CHECKING:
    import httpx

    from sgl_jax.client._batch import BatchResult
    from sgl_jax.client._endpoint import StreamKind

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One use of an endpoint: what to send, and how to read the answer.

    Attributes:
        parse: makes the result of a reply; may raise any `ValueError` (pydantic's is one).
        accept: statuses beyond 2xx that are answers and no errors.
        stream: set when the answer is a stream.
        idempotent: whether sending it twice does no more than sending it once.
        timeout, deadline, headers: the caller's own for this request.
    """

    method: str
    path: str
    parse: Callable[[Reply], Any]
    body: Mapping[str, Any] | None = None
    accept: frozenset[int] = frozenset()
    stream: StreamKind | None = None
    idempotent: bool = False
    timeout: TimeoutOption = None
    has_timeout: bool = False
    deadline: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """What goes on the wire.

    Attributes:
        stream: leaves a successful answer's body unread.
        deadline: when to give up, on `time.monotonic`'s clock; None for never.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes | None
    timeout: TimeoutOption
    stream: bool
    request_id: str
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `headers` have lower-case names; `body` is empty and `response` open for a stream."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    request_id: str
    response: httpx.Response | None = None

    @property
    def ok(self) -> bool:
        """Whether the status says success."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer. `unsent` is set when the server cannot have received the request."""

    error: SglJaxClientError
    unsent: bool


@dataclass(frozen=True, slots=True)
class Send:
    """Step: send the request; its outcome is a `Reply` or a `Failure`."""

    request: Request


@dataclass(frozen=True, slots=True)
class Sleep:
    """Step: wait; it has no outcome."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Each:
    """Step: call all of these; its outcome is a list of `BatchResult`, in the order of `calls`.

    Attributes:
        limit: how many may be under way at a time. None: one after another, on the caller's own thread, for the
            sync client; all side by side for the async one.
        on_ended: told of each that has ended, on the caller's own thread.
    """

    calls: Sequence[Callable[[], Any]]
    limit: int | None = None
    on_ended: Callable[[], object] | None = None


Step: TypeAlias = Send | Sleep | Each
Outcome: TypeAlias = "Reply | Failure | list[BatchResult[Any]] | None"
Steps: TypeAlias = Generator[Step, Outcome, T]
"""Runs by `send(outcome)`, starting with None, until it returns its result or raises."""


def answered(call: Call, options: ClientOptions) -> Steps[Any]:
    """Steps from a call to its result, with retries. Raises the client's errors."""
    return result_of(call, (yield from exchange(call, options)))


def exchange(call: Call, options: ClientOptions, *, clock: Callable[[], float] = time.monotonic) -> Steps[Reply]:
    """Steps from a call to its accepted reply, with retries. Raises the client's errors."""
    seconds = options.deadline if call.deadline is None else call.deadline
    deadline = None if seconds is None else clock() + seconds
    request = build_request(call, options, deadline=deadline)
    attempt = 0
    while True:
        outcome = yield Send(request)
        attempt += 1
        if isinstance(outcome, Reply):
            if outcome.ok or outcome.status in call.accept:
                return outcome
            error: SglJaxClientError = error_of(outcome)
            repeat = status_may_repeat(outcome.status, idempotent=call.idempotent)
            wait = parse_retry_after(outcome.headers)
        else:
            assert isinstance(outcome, Failure)
            error, repeat, wait = outcome.error, outcome.unsent or call.idempotent, None
        delay = retry_delay(attempt, wait) if repeat and attempt <= options.max_retries else None
        if delay is None or (deadline is not None and clock() + delay >= deadline):
            raise error
        yield Sleep(delay)


def build_request(call: Call, options: ClientOptions, *, deadline: float | None = None) -> Request:
    """The request of a call. Raises `ValueError` or `TypeError` for a body that JSON cannot hold."""
    request_id = uuid.uuid4().hex
    headers = {"accept": "text/event-stream" if call.stream else "application/json", "x-request-id": request_id}
    if options.api_key:
        headers["authorization"] = f"Bearer {options.api_key}"
    content = None
    if call.body is not None:
        headers["content-type"] = "application/json"
        content = json.dumps(call.body, default=_jsonable, allow_nan=False, separators=(",", ":")).encode()
    for extra in (options.default_headers, call.headers):
        headers.update({name.lower(): value for name, value in extra.items()})
    return Request(
        method=call.method,
        url=options.root + call.path,
        headers=headers,
        content=content,
        timeout=call.timeout if call.has_timeout else options.timeout,
        stream=call.stream is not None,
        request_id=headers["x-request-id"],
        deadline=deadline,
    )


def result_of(call: Call, reply: Reply) -> Any:
    """The call's result. Raises `InvalidResponseError` when the answer does not have the promised shape."""
    try:
        return call.parse(reply)
    except ValueError as error:
        raise InvalidResponseError(
            f"{call.method} {call.path} was answered with something else than the API promises "
            f"(is it an OpenAI-compatible server?): {error}",
            request_id=reply.request_id,
        ) from error


def error_of(reply: Reply) -> APIError:
    """The error that a reply with a failing status describes."""
    body: Any
    try:
        body = json.loads(reply.body)
    except (ValueError, RecursionError):
        body = reply.body.decode("utf-8", "replace").strip()
    return error_from_body(body, status=reply.status, request_id=reply.request_id)


def _jsonable(value: Any) -> Any:
    """Lets answers go back into requests: `messages.append(completion.message)`."""
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"{type(value).__name__} cannot be sent as JSON.")
    return dump(mode="json", exclude_none=True)
