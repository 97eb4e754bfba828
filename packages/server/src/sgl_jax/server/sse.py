"""Server-sent events: framing, keep-alive, early errors with a real status, late ones as an event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, MutableMapping
from typing import Any

import msgspec
from fastapi import Response
from starlette.types import Receive, Scope, Send

from sgl_jax.server.disconnect import ClientGoneError, mark_client_gone, unless_disconnected
from sgl_jax.server.errors import ApiError, encode_error, from_exception

DONE = b"data: [DONE]\n\n"
MEDIA_TYPE = "text/event-stream"
_KEEP_ALIVE = b": keep-alive\n\n"
_ENCODER = msgspec.json.Encoder()

logger = logging.getLogger(__name__)


def event(payload: Any) -> bytes:
    """One `data:` event with `payload` as JSON."""
    return b"data: " + _ENCODER.encode(payload) + b"\n\n"


def named_event(payload: msgspec.Struct) -> bytes:
    """One event whose name is the tag of `payload`, which is its `type`, too."""
    return f"event: {payload.__struct_config__.tag}\n".encode() + event(payload)


def error_event(error: ApiError) -> bytes:
    """One event with the error object, as chat and plain completions end a stream that fails."""
    return b"data: " + encode_error(error) + b"\n\n"


class EventStream(Response):
    """A response that sends the events of an async generator as they come.

    The status line waits for the first event (at most `keep_alive` seconds), so that a request
    which is refused at once gets its real status instead of a 200 with bad news inside. A failure
    after that is one event, and the stream ends. When the client leaves, the generator is closed in
    that moment.

    Args:
        events: encoded events; closed when the response ends, however it ends.
        keep_alive: seconds of silence after which `ping` is sent.
        ping: what says nothing, and shows that the server is there.
        failure: the last event of a stream that fails.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self,
        events: AsyncGenerator[bytes],
        *,
        keep_alive: float,
        ping: bytes = _KEEP_ALIVE,
        failure: Callable[[ApiError], bytes] = error_event,
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._keep_alive = keep_alive
        self._ping = ping
        self._failure = failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the stream. Raises what the generator raised before its first event."""
        try:
            await unless_disconnected(receive, self._send_all(send))
        except ClientGoneError:
            mark_client_gone(scope)

    async def _send_all(self, send: Send) -> None:
        first = asyncio.ensure_future(anext(self._events, b""))
        try:
            await asyncio.wait((first,), timeout=self._keep_alive)
            if first.done():
                first.result()  # raises while the status is still ours to choose
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send_events(send, first)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            await self._events.aclose()

    async def _send_events(self, send: Send, first: asyncio.Future[bytes]) -> None:
        loop = asyncio.get_running_loop()
        last_sent = loop.time() if first.done() else float("-inf")

        async def keep_alive() -> None:
            while True:
                silence = loop.time() - last_sent
                if silence >= self._keep_alive:
                    await send(_body(self._ping))
                    silence = 0.0
                await asyncio.sleep(self._keep_alive - silence)

        # One timer for the whole stream: a timeout around every event would cost more than the event.
        pinger = asyncio.create_task(keep_alive())
        try:
            chunk = await first
            while chunk:
                last_sent = loop.time()
                await send(_body(chunk))
                chunk = await anext(self._events, b"")
        except Exception as error:
            answer = from_exception(error)
            if answer.status == 500:
                logger.exception("a stream failed after it had begun")
            await send(_body(self._failure(answer)))
        finally:
            pinger.cancel()
            await asyncio.gather(pinger, return_exceptions=True)


def _body(chunk: bytes) -> MutableMapping[str, Any]:
    return {"type": "http.response.body", "body": chunk, "more_body": True}
