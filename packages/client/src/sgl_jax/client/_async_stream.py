"""A streamed answer, for the async client; see `_stream` for its sync twin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Generator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import httpx

from sgl_jax.client._endpoint import StreamKind
from sgl_jax.client._events import ChunkT, EventReader, FinalT
from sgl_jax.client._exceptions import StreamError
from sgl_jax.client._requests import Reply


class AsyncStream(Generic[ChunkT, FinalT]):
    """An async iterator of chunks that closes its connection when it ends, fails, or is left.

        async with client.chat.stream("Hello!") as stream:
            async for text in stream.text_stream:
                print(text, end="")

    Leaving early, or cancelling the task that reads, closes the connection, upon which the server
    frees the request's slot. Iterating raises as `Stream` does.

    Attributes:
        request_id: to look for in the server's log.
    """

    def __init__(self, kind: StreamKind, reply: Reply) -> None:
        if reply.response is None:
            raise ValueError("A stream needs a reply whose body is still open.")
        self.request_id = reply.request_id
        self._reader: EventReader[ChunkT, FinalT] = EventReader(kind, reply)
        self._response = reply.response
        self._bytes = reply.response.aiter_bytes()
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChunkT:
        if self._closed:
            raise StopAsyncIteration
        try:
            while (chunk := self._reader.next_chunk()) is None:
                data = await anext(self._bytes, None)
                if data is None:
                    self._reader.end()
                    await self.close()
                    raise StopAsyncIteration
                self._reader.feed(data)
        except httpx.TimeoutException as error:
            await self.close()
            raise self._reader.late(error) from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            await self.close()
            if self._reader.done:  # the answer is whole: what breaks after it is no loss
                raise StopAsyncIteration from error
            raise self._reader.cut(error) from error
        except BaseException:
            await self.close()
            raise
        return chunk

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection; idempotent. The stream gives no more chunks."""
        self._closed = True
        await self._response.aclose()

    @property
    async def text_stream(self) -> AsyncIterator[str]:
        """The pieces of the first answer's text, as they come."""
        async for _ in self:
            if self._reader.text:
                yield self._reader.text

    async def get_final_response(self) -> FinalT:
        """Reads to the end; the answer as it would have come without streaming.

        Raises what iterating raises, and `StreamError` when the stream was closed before its end.
        """
        async for _ in self:
            pass
        if not self._reader.done:
            raise StreamError("The stream was closed before its end.", request_id=self.request_id)
        return self._reader.result()


AsyncStreamT = TypeVar("AsyncStreamT", bound=AsyncStream[Any, Any])


class PendingStream(Coroutine[Any, Any, AsyncStreamT]):
    """A stream that is still to be opened: `await` it, or enter it at once.

    stream = await client.chat.completions.create(messages=..., stream=True)
    async with client.chat.stream("Hello!") as stream: ...
    """

    def __init__(self, opening: Coroutine[Any, Any, AsyncStreamT]) -> None:
        self._opening = opening
        self._stream: AsyncStreamT | None = None

    def __await__(self) -> Generator[Any, None, AsyncStreamT]:
        return self._opening.__await__()

    def send(self, value: Any) -> Any:
        """Part of being a coroutine, so that `asyncio.create_task` takes it."""
        return self._opening.send(value)

    def throw(self, *error: Any) -> Any:
        """Part of being a coroutine."""
        return self._opening.throw(*error)

    def close(self) -> None:
        """Part of being a coroutine: gives up opening. A stream that is open has its own `close`."""
        self._opening.close()

    async def __aenter__(self) -> AsyncStreamT:
        self._stream = await self._opening
        return self._stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._stream is not None:
            await self._stream.close()
