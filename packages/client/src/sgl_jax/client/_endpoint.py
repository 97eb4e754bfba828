"""One endpoint as data: where it is, and what its answers are. Both clients execute the same ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sgl_jax.client._options import ClientOptions
from sgl_jax.client._requests import Call, Reply, Steps

if TYPE_CHECKING:
    from pydantic import BaseModel

    from sgl_jax.client._accumulate import Accumulator
    from sgl_jax.client._async_stream import AsyncStream
    from sgl_jax.client._stream import Stream

ModelT = TypeVar("ModelT", bound="BaseModel")


@dataclass(frozen=True, slots=True)
class StreamKind:
    """How to read an endpoint's streams: the type of one event, what adds events up, and the two faces of it.

    Attributes:
        finish: makes the result of the sum and the request's id; None leaves it as it is.
    """

    chunk: type[BaseModel]
    accumulator: Callable[[], Accumulator[Any, Any]]
    sync: type[Stream[Any, Any]]
    asynchronous: type[AsyncStream[Any, Any]]
    finish: Callable[[Any, str], Any] | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint, from which calls are made.

    Attributes:
        parse, stream, accept: how to read the answers; see `Call`.
        repeatable: set for a POST that does no harm when it is sent twice, as those that generate do.
    """

    method: str
    path: str
    parse: Callable[[Reply], Any]
    stream: StreamKind | None = None
    accept: frozenset[int] = frozenset()
    repeatable: bool = False

    def call(
        self, body: Mapping[str, Any] | None = None, params: Mapping[str, Any] | None = None, *, stream: bool = False
    ) -> Call:
        """The call with this body and these keyword arguments (`RequestOptions` among them); Nones are not sent."""
        params = params or {}
        fields = {name: value for name, value in {**(body or {}), **params}.items() if value is not None}
        extra_body, headers = (fields.pop(name, None) for name in ("extra_body", "extra_headers"))
        timeout, deadline = (fields.pop(name, None) for name in ("timeout", "deadline"))
        if stream:
            fields["stream"] = True
        return Call(
            method=self.method,
            path=self.path,
            parse=self.parse,
            body=None if body is None else {**fields, **(extra_body or {})},
            accept=self.accept,
            stream=self.stream if stream else None,
            idempotent=self.method == "GET" or self.repeatable,
            timeout=timeout,
            has_timeout="timeout" in params,
            deadline=deadline,
            headers=headers or {},
        )


class Run(Protocol):
    """How a client executes a call: at once, or as something to await. The resource's type parameters say which."""

    def __call__(self, call: Call, /) -> Any: ...


class Play(Protocol):
    """How a client goes through steps that take more than one call; otherwise as `Run`."""

    def __call__(self, script: Callable[[ClientOptions], Steps[Any]], /) -> Any: ...


def json_as(model: type[ModelT]) -> Callable[[Reply], ModelT]:
    """A `parse` that reads the body as `model`."""
    return lambda reply: model.model_validate_json(reply.body)
