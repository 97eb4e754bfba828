"""One endpoint as data: where it is, and what its answers are. Both clients execute the same ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sgl_jax.client._requests import Call, Reply

if TYPE_CHECKING:
    from pydantic import BaseModel

    from sgl_jax.client._accumulate import Accumulator
    from sgl_jax.client._async_stream import AsyncStream
    from sgl_jax.client._stream import Stream

ModelT = TypeVar("ModelT", bound="BaseModel")


@dataclass(frozen=True, slots=True)
class StreamKind:
    """How to read an endpoint's streams: the type of one event, what adds events up, and the two faces of it."""

    chunk: type[BaseModel]
    accumulator: Callable[[], Accumulator[Any, Any]]
    sync: type[Stream[Any, Any]]
    asynchronous: type[AsyncStream[Any, Any]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint, from which calls are made."""

    method: str
    path: str
    parse: Callable[[Reply], Any]
    stream: StreamKind | None = None
    accept: frozenset[int] = frozenset()

    def call(
        self, body: Mapping[str, Any] | None = None, params: Mapping[str, Any] | None = None, *, stream: bool = False
    ) -> Call:
        """The call with this body and these keyword arguments (`RequestOptions` among them); Nones are not sent."""
        params = params or {}
        fields = {name: value for name, value in {**(body or {}), **params}.items() if value is not None}
        extra_body, headers, timeout = (fields.pop(n, None) for n in ("extra_body", "extra_headers", "timeout"))
        if stream:
            fields["stream"] = True
        return Call(
            method=self.method,
            path=self.path,
            parse=self.parse,
            body=None if body is None else {**fields, **(extra_body or {})},
            accept=self.accept,
            stream=self.stream if stream else None,
            timeout=timeout,
            has_timeout="timeout" in params,
            headers=headers or {},
        )


class Run(Protocol):
    """How a client executes a call: at once, or as something to await. The resource's type parameters say which."""

    def __call__(self, call: Call, /) -> Any: ...


def json_as(model: type[ModelT]) -> Callable[[Reply], ModelT]:
    """A `parse` that reads the body as `model`."""
    return lambda reply: model.model_validate_json(reply.body)
