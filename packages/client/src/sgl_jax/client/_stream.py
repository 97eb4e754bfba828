"""A streamed answer, for the sync client."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Generic, Self

import httpx

from sgl_jax.client._endpoint import StreamKind
from sgl_jax.client._events import ChunkT, EventReader, FinalT
from sgl_jax.client._exceptions import StreamError
from sgl_jax.client._requests import Reply


class Stream(Generic[ChunkT, FinalT]):
    """An iterator of chunks that closes its connection when it ends, fails, or is left.

        with client.chat.stream("Hello!") as stream:
            for text in stream.text_stream:
                print(text, end="")

    Leaving early closes the connection, upon which the server frees the request's slot. Iterating
    raises `APIError` for an error that the server reports midway, `StreamError` for a stream that
    is cut or damaged, and `APITimeoutError` when the server falls silent for too long.

    Attributes:
        request_id: to look for in the server's log.
    """

    def __init__(self, kind: StreamKind, reply: Reply) -> None:
        if reply.response is None:
            raise ValueError("A stream needs a reply whose body is still open.")
        self.request_id = reply.request_id
        self._reader: EventReader[ChunkT, FinalT] = EventReader(kind, reply)
        self._response = reply.response
        self._bytes = reply.response.iter_bytes()
        self._closed = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ChunkT:
        if self._closed:
            raise StopIteration
        try:
            while (chunk := self._reader.next_chunk()) is None:
                data = next(self._bytes, None)
                if data is None:
                    self._reader.end()
                    self.close()
                    raise StopIteration
                self._reader.feed(data)
        except httpx.TimeoutException as error:
            self.close()
            raise self._reader.late(error) from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            self.close()
            if self._reader.done:  # the answer is whole: what breaks after it is no loss
                raise StopIteration from error
            raise self._reader.cut(error) from error
        except BaseException:
            self.close()
            raise
        return chunk

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; idempotent. The stream gives no more chunks."""
        self._closed = True
        self._response.close()

    @property
    def text_stream(self) -> Iterator[str]:
        """The pieces of the first answer's text, as they come."""
        for _ in self:
            if self._reader.text:
                yield self._reader.text

    def get_final_response(self) -> FinalT:
        """Reads to the end; the answer as it would have come without streaming.

        Raises what iterating raises, and `StreamError` when the stream was closed before its end.
        """
        for _ in self:
            pass
        if not self._reader.done:
            raise StreamError("The stream was closed before its end.", request_id=self.request_id)
        return self._reader.result()
