"""The mock server: OpenAI's chat and completions routes with tokens that leave on a timetable.

behaviour = MockBehaviour(ttft=0.2, itl=0.02)
async with MockServer(behaviour) as server:
    ...  # server.url; server.log holds what was really sent and when
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self

from sgl_jax.bench.mock.answer import Answer, chat_answer, made_up_words, prompt_tokens, text_answer
from sgl_jax.bench.mock.behaviour import MockBehaviour
from sgl_jax.bench.mock.http import (
    MAX_HEAD_BYTES,
    STREAM_END,
    STREAM_HEAD,
    BadRequestError,
    HttpRequest,
    error_response,
    json_response,
    read_request,
    sse_chunk,
    text_response,
)
from sgl_jax.bench.mock.stats import MockStats

_DEFAULT_MAX_TOKENS = 16


@dataclass(slots=True)
class ServedRequest:
    """What the mock did for one generation request; times on the clock of `time.perf_counter`.

    Attributes:
        body: the request's JSON.
        arrived: when its last byte had been read.
        begun: when it got its slot.
        sent: when each chunk with tokens was handed to the socket.
    """

    body: dict[str, Any]
    arrived: float
    begun: float = 0.0
    sent: list[float] = field(default_factory=list)


class MockServer:
    """A small asyncio HTTP server on 127.0.0.1 or wherever it is told to listen.

    Args:
        behaviour: timings and faults.
        host: address to bind.
        port: port to bind; 0 picks a free one, see `url`.
        keep_log: whether `log` is filled; off for long runs, where it would only grow.

    Raises:
        OSError: on entering, when the port is taken.
    """

    def __init__(
        self, behaviour: MockBehaviour, host: str = "127.0.0.1", port: int = 0, *, keep_log: bool = True
    ) -> None:
        self._behaviour = behaviour
        self._host = host
        self._port = port
        self._keep_log = keep_log
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._numbers = count(1)
        self._origin: float | None = None
        self._slots = asyncio.Semaphore(behaviour.slots) if behaviour.slots else contextlib.nullcontext()
        self._stats = MockStats()
        self.log: list[ServedRequest] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve_connection, self._host, self._port, limit=MAX_HEAD_BYTES, backlog=1024
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """The address to give to a client, without a trailing slash."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def serve_forever(self) -> None:
        """Serve until cancelled."""
        assert self._server is not None
        await self._server.serve_forever()

    async def _serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while (request := await read_request(reader)) is not None:
                await self._answer(request, writer)
                if not request.keep_alive:
                    break
        except BadRequestError as error:
            writer.write(error_response(400, str(error)))
        except (ConnectionError, asyncio.CancelledError):
            # The peer went away, or the server is closing. Swallowed, because asyncio's stream server would report
            # a cancelled handler as an unhandled error.
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(self, request: HttpRequest, writer: asyncio.StreamWriter) -> None:
        match request.method, request.path:
            case "POST", "/v1/chat/completions":
                await self._generate(chat_answer(next(self._numbers)), request, writer)
            case "POST", "/v1/completions":
                await self._generate(text_answer(next(self._numbers)), request, writer)
            case "GET", "/health":
                writer.write(json_response(200, {"status": "ok"}))
            case "GET", "/v1/models":
                model = {"id": self._behaviour.model, "object": "model", "created": 0, "owned_by": "sgl-jax-bench"}
                writer.write(json_response(200, {"object": "list", "data": [model]}))
            case "GET", "/get_server_info" if self._behaviour.stats:
                info = {"server": "sgl-jax-bench serve-mock", "stats": self._stats.to_json()}
                writer.write(json_response(200, info))
            case "GET", "/metrics" if self._behaviour.stats:
                writer.write(text_response(self._stats.to_prometheus()))
            case _:
                writer.write(error_response(404, f"no route {request.method} {request.path}"))
        await writer.drain()

    async def _generate(self, answer: Answer, request: HttpRequest, writer: asyncio.StreamWriter) -> None:
        arrived = time.perf_counter()
        if self._origin is None:
            self._origin = arrived
        try:
            body = request.json()
            sizes = self._behaviour.chunk_sizes(_max_tokens(body))
        except BadRequestError as error:
            writer.write(error_response(400, str(error)))
            return
        served = ServedRequest(body, arrived)
        if self._keep_log:
            self.log.append(served)
        number = int(answer.id.rpartition("-")[2])
        if _every(self._behaviour.fail_every, number):
            writer.write(error_response(500, "the mock fails this request on purpose"))
            return
        async with self._slot(served):
            if body.get("stream"):
                dropped = _every(self._behaviour.drop_every, number)
                await self._stream(answer, served, sizes, writer, dropped=dropped)
            else:
                await self._wait_for_token(served.begun, sum(sizes))
                writer.write(json_response(200, self._whole(answer, served, sum(sizes))))

    @contextlib.asynccontextmanager
    async def _slot(self, served: ServedRequest) -> AsyncIterator[None]:
        """Wait for a slot and keep it; the statistics know about both."""
        stats = self._stats
        stats.waiting += 1
        try:
            await self._slots.__aenter__()
        finally:
            stats.waiting -= 1
        stats.running += 1
        stats.prompt_tokens_total += prompt_tokens(served.body)
        served.begun = time.perf_counter()
        try:
            yield
        finally:
            stats.running -= 1
            stats.finished_total += 1
            await self._slots.__aexit__(None, None, None)

    async def _stream(
        self, answer: Answer, served: ServedRequest, sizes: list[int], writer: asyncio.StreamWriter, *, dropped: bool
    ) -> None:
        model = self._behaviour.model
        writer.write(STREAM_HEAD)
        if answer.kind == "chat.completion":
            role = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
            writer.write(sse_chunk(answer.event(model, [role])))
        tokens = 0
        for position, size in enumerate(sizes):
            if dropped and position >= len(sizes) // 2:
                raise ConnectionAbortedError("dropped on purpose")
            choice = {"index": 0, **answer.delta(made_up_words(tokens, size)), "finish_reason": None}
            event = sse_chunk(answer.event(model, [choice]))
            tokens += size
            await self._wait_for_token(served.begun, tokens)
            self._stats.generated_tokens_total += size
            served.sent.append(time.perf_counter())
            writer.write(event)
            await writer.drain()
        last = {"index": 0, **answer.delta(""), "finish_reason": "length"}
        writer.write(sse_chunk(answer.event(model, [last])))
        if self._behaviour.usage and (served.body.get("stream_options") or {}).get("include_usage"):
            writer.write(sse_chunk(answer.event(model, [], usage=self._usage(served, tokens))))
        writer.write(sse_chunk(b"[DONE]"))
        writer.write(STREAM_END)

    async def _wait_for_token(self, start: float, token: int) -> None:
        """Sleep until the `token`-th token of a request that got its slot at `start` is due; never less."""
        assert self._origin is not None
        due = self._origin + self._behaviour.due(start - self._origin, token)
        while (left := due - time.perf_counter()) > 0:
            await asyncio.sleep(left)

    def _whole(self, answer: Answer, served: ServedRequest, tokens: int) -> dict[str, Any]:
        choice = {"index": 0, **answer.whole(made_up_words(0, tokens)), "finish_reason": "length"}
        value: dict[str, Any] = {
            "id": answer.id,
            "object": answer.kind,
            "created": 0,
            "model": self._behaviour.model,
            "choices": [choice],
        }
        if self._behaviour.usage:
            value["usage"] = self._usage(served, tokens)
        return value

    def _usage(self, served: ServedRequest, tokens: int) -> dict[str, Any]:
        asked = prompt_tokens(served.body)
        usage: dict[str, Any] = {"prompt_tokens": asked, "completion_tokens": tokens, "total_tokens": asked + tokens}
        if self._behaviour.slots:
            usage["queue_time"] = round(served.begun - served.arrived, 6)
        return usage


def _every(n: int, number: int) -> bool:
    return n > 0 and number % n == 0


def _max_tokens(body: dict[str, Any]) -> int:
    value = body.get("max_completion_tokens") or body.get("max_tokens") or _DEFAULT_MAX_TOKENS
    if not isinstance(value, int) or value < 1:
        raise BadRequestError("max_tokens must be a positive integer")
    return value
