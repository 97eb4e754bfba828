"""Where steps meet sockets: how httpx is set up, how it performs a step, and what its errors mean for us."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import aclosing, closing
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

import httpx

from sgl_jax.client._async_stream import AsyncStream, PendingStream
from sgl_jax.client._deadline import in_time, timeout_within
from sgl_jax.client._each import in_tasks, in_threads
from sgl_jax.client._endpoint import StreamKind
from sgl_jax.client._exceptions import APIConnectionError, APITimeoutError, SglJaxClientError
from sgl_jax.client._options import ClientOptions
from sgl_jax.client._requests import (
    Call,
    Each,
    Failure,
    Outcome,
    Reply,
    Request,
    Sleep,
    Step,
    Steps,
    answered,
    exchange,
)

T = TypeVar("T")

LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=4.0)
"""No cap on connections: a hidden one would queue requests that the caller believes sent. Idle ones go after 4 s,
before uvicorn drops them at 5 s, as a POST that meets a connection just dropped cannot be repeated."""

_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


@cache
def user_agent() -> str:
    """This package's name and version, for the server's log."""
    try:
        return f"sgl-jax-client/{version('sgl-jax-client')}"
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "sgl-jax-client"


def failure_of(error: httpx.HTTPError, request: Request) -> Failure:
    """What an exception of httpx means before an answer has begun."""
    unsent = isinstance(error, _UNSENT)
    detail = str(error) or type(error).__name__
    failed: SglJaxClientError
    if isinstance(error, httpx.TimeoutException):
        doing = "connect" if unsent else "answer"
        message = f"{request.url} did not {doing} in time ({detail}); a larger `timeout` gives it longer."
        failed = APITimeoutError(message, request_id=request.request_id)
    elif unsent:
        message = f"Cannot connect to {request.url}: {detail}. Is the server running, and is base_url right?"
        failed = APIConnectionError(message, request_id=request.request_id)
    else:
        message = f"The connection to {request.url} broke before an answer came: {detail}."
        failed = APIConnectionError(message, request_id=request.request_id)
    failed.__cause__ = error
    return Failure(failed, unsent=unsent)


class SyncExecutor:
    """Performs steps with blocking sockets.

    Args:
        http: does the sending.
        owned: whether closing this closes `http` too.
    """

    def __init__(self, http: httpx.Client, *, owned: bool) -> None:
        self._http = http
        self._owned = owned

    def shared(self) -> SyncExecutor:
        """Another user of the same connections, which does not close them."""
        return SyncExecutor(self._http, owned=False)

    def run(self, call: Call, options: ClientOptions) -> Any:
        """The call's result, or its open stream."""
        if call.stream is None:
            return self.drive(answered(call, options))
        return call.stream.sync(call.stream, self.drive(exchange(call, options)))

    def drive(self, steps: Steps[T]) -> T:
        """Performs the steps to their end; returns what they return, raises what they raise."""
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            outcome = self._perform(step)

    def close(self) -> None:
        """Closes the connections if they are this executor's."""
        if self._owned:
            self._http.close()

    def _perform(self, step: Step) -> Outcome:
        if isinstance(step, Sleep):
            time.sleep(step.seconds)
            return None
        if isinstance(step, Each):
            return in_threads(step)
        try:
            response = self._http.send(_to_httpx(self._http, step.request), stream=True)
            in_time(response, step.request.deadline)
            if step.request.stream and response.is_success:
                return _opened(response, step.request)
            with closing(response):
                return _answered(response, step.request, response.read())
        except httpx.HTTPError as error:
            return failure_of(error, step.request)


class AsyncExecutor:
    """Performs steps on an asyncio loop; the twin of `SyncExecutor`."""

    def __init__(self, http: httpx.AsyncClient, *, owned: bool) -> None:
        self._http = http
        self._owned = owned

    def shared(self) -> AsyncExecutor:
        """Another user of the same connections, which does not close them."""
        return AsyncExecutor(self._http, owned=False)

    def run(self, call: Call, options: ClientOptions) -> Coroutine[Any, Any, Any]:
        """The call's result to await, or its stream to await or enter."""
        if call.stream is None:
            return self.drive(answered(call, options))
        return PendingStream(self._open(call, call.stream, options))

    async def drive(self, steps: Steps[T]) -> T:
        """Performs the steps to their end; returns what they return, raises what they raise."""
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            outcome = await self._perform(step)

    async def close(self) -> None:
        """Closes the connections if they are this executor's."""
        if self._owned:
            await self._http.aclose()

    async def _open(self, call: Call, kind: StreamKind, options: ClientOptions) -> AsyncStream[Any, Any]:
        stream: AsyncStream[Any, Any] = kind.asynchronous(kind, await self.drive(exchange(call, options)))
        return stream

    async def _perform(self, step: Step) -> Outcome:
        if isinstance(step, Sleep):
            await asyncio.sleep(step.seconds)
            return None
        if isinstance(step, Each):
            return await in_tasks(step)
        try:
            response = await self._http.send(_to_httpx(self._http, step.request), stream=True)
            in_time(response, step.request.deadline)
            if step.request.stream and response.is_success:
                return _opened(response, step.request)
            async with aclosing(response):
                return _answered(response, step.request, await response.aread())
        except httpx.HTTPError as error:
            return failure_of(error, step.request)


def _to_httpx(http: httpx.Client | httpx.AsyncClient, request: Request) -> httpx.Request:
    return http.build_request(
        request.method,
        request.url,
        headers={"user-agent": user_agent(), **request.headers},
        content=request.content,
        timeout=timeout_within(request.timeout, request.deadline),
    )


def _opened(response: httpx.Response, request: Request) -> Reply:
    return replace(_answered(response, request, b""), response=response)


def _answered(response: httpx.Response, request: Request, body: bytes) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    request_id = headers.get("x-request-id") or request.request_id
    return Reply(response.status_code, headers, body, request_id)
