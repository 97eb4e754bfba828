"""The pure half of a stream: bytes in, typed chunks out, and the sum of what came."""

from __future__ import annotations

import json
from collections import deque
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from sgl_jax.client._endpoint import StreamKind
from sgl_jax.client._exceptions import APITimeoutError, StreamError, error_from_body
from sgl_jax.client._requests import Reply
from sgl_jax.client._sse import ServerSentEvent, SSEDecoder

ChunkT = TypeVar("ChunkT")
FinalT = TypeVar("FinalT")

_DONE = b"[DONE]"


class EventReader(Generic[ChunkT, FinalT]):
    """Reads one stream. Feed it bytes, take chunks until there are none, and tell it when the bytes end.

    Attributes:
        text: what the last chunk added to the first answer.
        done: whether `[DONE]` came; only then is the answer whole.
    """

    def __init__(self, kind: StreamKind, reply: Reply) -> None:
        self.text = ""
        self.done = False
        self._kind = kind
        self._reply = reply
        self._decoder = SSEDecoder()
        self._accumulator = kind.accumulator()
        self._events: deque[ServerSentEvent] = deque()
        self._count = 0

    def feed(self, data: bytes) -> None:
        """Takes the next bytes. Raises `StreamError` when an event is too large to hold."""
        try:
            self._events.extend(self._decoder.feed(data))
        except ValueError as error:
            raise self._error(str(error)) from error

    def next_chunk(self) -> ChunkT | None:
        """The next chunk, or None when it takes more bytes.

        Raises `APIError` for an error event, and `StreamError` for an event that is no chunk.
        """
        while self._events and not self.done:
            data = self._events.popleft().data
            if data.strip() == _DONE:
                self.done = True
            elif data:
                self._count += 1
                return self._read(data)
        return None

    def end(self) -> None:
        """Notes that no more bytes come. Raises `StreamError` unless the stream had come to its end."""
        if not self.done:
            kind = self._reply.headers.get("content-type", "no content type")
            raise self._error(f"it ended before [DONE], after {self._count} events ({kind})")

    def cut(self, reason: Exception) -> StreamError:
        """The error for a connection that broke."""
        return self._error(f"the connection broke after {self._count} events: {reason or type(reason).__name__}")

    def late(self, reason: Exception) -> APITimeoutError:
        """The error for a stream that did not go on in time."""
        return APITimeoutError(
            f"The stream did not go on in time, after {self._count} events: {reason or type(reason).__name__}.",
            request_id=self._reply.request_id,
        )

    def result(self) -> FinalT:
        """The answer so far. Raises what the stream's `finish` does."""
        whole: Any = self._accumulator.result()
        final: FinalT = whole if self._kind.finish is None else self._kind.finish(whole, self._reply.request_id)
        return final

    def _read(self, data: bytes) -> ChunkT:
        if b'"error"' in data:  # cheap to rule out; text that holds it has its quotes escaped
            self._raise_error_event(data)
        try:
            chunk: Any = self._kind.chunk.model_validate_json(data)
        except ValidationError as error:
            shown = data[:200].decode("utf-8", "replace")
            raise self._error(f"event {self._count} is not a {self._kind.chunk.__name__}: {shown}") from error
        self.text = self._accumulator.add(chunk)
        read: ChunkT = chunk
        return read

    def _raise_error_event(self, data: bytes) -> None:
        try:
            body = json.loads(data)
        except (ValueError, RecursionError):
            return  # not JSON: the caller finds that out too, and says so
        if isinstance(body, dict) and body.get("error"):
            raise error_from_body(body, status=None, request_id=self._reply.request_id)

    def _error(self, what: str) -> StreamError:
        return StreamError(f"The stream is broken: {what}.", request_id=self._reply.request_id)
