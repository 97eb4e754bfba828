"""Sends requests to a server and turns its answers into records."""

from __future__ import annotations

import asyncio
import time

from sgl_jax.bench.record import Clock, RequestFailure, RequestRecord
from sgl_jax.bench.target.answer import AnswerReader, error_message
from sgl_jax.bench.target.options import TargetOptions
from sgl_jax.bench.target.request import generation_request, http_request
from sgl_jax.bench.wire.connection import Reply
from sgl_jax.bench.wire.errors import ConnectError, WireError
from sgl_jax.bench.wire.json_body import json_body
from sgl_jax.bench.wire.pool import ConnectionPool
from sgl_jax.bench.workload.base import RequestSpec


class Target:
    """A server, and a model on it. Make one with `connect`.

    Args:
        pool: lends a connection for each request.
        options: where and how; its `model` must be set.
        clock: the records' clock.
    """

    def __init__(self, pool: ConnectionPool, options: TargetOptions, clock: Clock = time.perf_counter) -> None:
        self._pool = pool
        self._options = options
        self._clock = clock

    @property
    def model(self) -> str | None:
        """The name of the model under test."""
        return self._options.model

    @property
    def url(self) -> str:
        """The server's root."""
        return self._options.root

    async def measure(self, spec: RequestSpec, record: RequestRecord) -> str:
        """Send one request, stream its answer to the end, and complete `record`.

        Never raises for a request that fails: that is a part of the record.

        Returns:
            What the model wrote, if the conversation goes on; or else an empty string.
        """
        answer = AnswerReader(record, keep_text=spec.next_turn is not None)
        try:
            async with asyncio.timeout(self._options.timeout):
                await self._stream(spec, answer, record)
        except TimeoutError:
            record.failure = RequestFailure("timeout", f"no whole answer within {self._options.timeout:g} s")
        except ConnectError as error:
            record.failure = RequestFailure("connection", f"cannot connect: {error}")
        except WireError as error:
            record.failure = RequestFailure("stream", str(error))
        if record.failure is not None:
            record.end = self._clock()
        return answer.text

    async def get(self, path: str, timeout: float) -> Reply:
        """Return the answer to a GET, whatever its status.

        Raises:
            TimeoutError: there is none within `timeout` seconds.
            WireError: no connection, or no HTTP.
        """
        async with asyncio.timeout(timeout):
            return await self._pool.exchange(http_request("GET", path, self._options, self._pool.address))

    async def _stream(self, spec: RequestSpec, answer: AnswerReader, record: RequestRecord) -> None:
        request = generation_request(spec, self._options, self._pool.address)
        reply = await self._pool.exchange(request, answer.feed)
        if reply.ok:
            answer.finish()
        else:
            message = error_message(json_body(reply) or reply.body[:200].decode("utf-8", "replace"))
            record.failure = RequestFailure(f"http_{reply.status}", message, reply.status)
