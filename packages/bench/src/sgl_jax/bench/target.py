"""The server under test: turns a `RequestSpec` into an HTTP request and its answer into a `RequestRecord`.

The only module that talks to a server, and it does so through `sgl_jax.client`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from sgl_jax.bench.connections import Connections
from sgl_jax.bench.errors import UnusableServerError
from sgl_jax.bench.record import Clock, RequestFailure, RequestRecord
from sgl_jax.bench.server_info import fetch_server_info
from sgl_jax.bench.workload.base import RequestSpec
from sgl_jax.client import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AsyncSglJax,
    InvalidResponseError,
    SglJaxClientError,
    StreamError,
)
from sgl_jax.client.types import ChatCompletionChunk, Completion

Endpoint = Literal["chat", "completions"]
Chunk = ChatCompletionChunk | Completion

_PROBE_SECONDS = 10.0
_CONNECT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """Where requests go and how their answers are sampled.

    Attributes:
        url: the server's root, with or without `/v1`.
        model: the model's name; None means the first that the server lists.
        endpoint: which route is measured.
        temperature: sampling temperature.
        seed: sent with every request, plus the request's index, so that a run can be repeated; None sends none.
        ignore_eos: generate up to `max_tokens`, whatever the model says. An extension; not every server has it.
        api_key: bearer token; None means the client's own default, `$SGL_JAX_API_KEY`.
        timeout: seconds that one request may take in all.
    """

    url: str
    model: str | None = None
    endpoint: Endpoint = "chat"
    temperature: float = 0.7
    seed: int | None = None
    ignore_eos: bool = False
    api_key: str | None = None
    timeout: float = 600.0

    @property
    def root(self) -> str:
        """The URL that the client is given: with a scheme, without `/v1` and trailing slashes."""
        url = self.url if "://" in self.url else f"http://{self.url}"
        return url.rstrip("/").removesuffix("/v1")


class Target:
    """A server, and a model on it. Make one with `connect`.

    Args:
        connections: lends a client for each request.
        options: where and how; its `model` must be set.
        info: what the server says about itself, for the results file.
        clock: the records' clock.
    """

    def __init__(
        self,
        connections: Connections,
        options: TargetOptions,
        info: dict[str, Any] | None = None,
        clock: Clock = time.perf_counter,
    ) -> None:
        self._connections = connections
        self._options = options
        self._clock = clock
        self.info = info

    @property
    def model(self) -> str | None:
        """The name of the model under test."""
        return self._options.model

    async def measure(self, spec: RequestSpec, due: float | None = None) -> RequestRecord:
        """Send one request and stream its answer to the end. Never raises for a request that fails."""
        record = RequestRecord(spec.index, sent=self._clock(), due=due)
        try:
            async with asyncio.timeout(self._options.timeout):
                await self._stream_into(record, spec)
        except TimeoutError:
            record.failure = RequestFailure("timeout", f"no whole answer within {self._options.timeout:g} s")
        except SglJaxClientError as error:
            record.failure = _classify(error)
        record.end = self._clock()
        return record

    async def _stream_into(self, record: RequestRecord, spec: RequestSpec) -> None:
        with self._connections.lease() as client:
            await self._read(record, await self._open(client, spec))

    async def _read(self, record: RequestRecord, opened: Any) -> None:
        clock = self._clock
        async with opened as stream:
            async for chunk in stream:
                if _carries_output(chunk):
                    record.chunk_times.append(clock())
                for choice in chunk.choices:
                    record.finish_reason = choice.finish_reason or record.finish_reason
                if (usage := chunk.usage) is not None:
                    record.input_tokens = usage.prompt_tokens
                    record.output_tokens = usage.completion_tokens
                    details = usage.prompt_tokens_details
                    record.cached_tokens = details.cached_tokens if details else None

    async def _open(self, client: AsyncSglJax, spec: RequestSpec) -> Any:
        options = self._options
        shared: dict[str, Any] = {
            "model": options.model,
            "max_tokens": spec.max_tokens,
            "temperature": options.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if options.seed is not None:
            shared["seed"] = options.seed + spec.index
        if options.ignore_eos:
            shared["extra_body"] = {"ignore_eos": True}
        if options.endpoint == "completions":
            return await client.completions.create(prompt=spec.as_text(), **shared)
        messages = [{"role": message.role, "content": message.content} for message in spec.messages]
        return await client.chat.completions.create(messages=messages, **shared)


@asynccontextmanager
async def connect(options: TargetOptions, expected_streams: int = 1) -> AsyncIterator[Target]:
    """Find out which model is served, and yield the target.

    Args:
        options: where and how.
        expected_streams: how many requests will run at a time; connections are prepared for them.

    Raises:
        UnusableServerError: nobody answers, the key is refused, or no model can be named.
    """

    def make() -> AsyncSglJax:
        # Retries off: a request that the client repeats would be measured as one slow request.
        return AsyncSglJax(options.root, api_key=options.api_key, timeout=_timeouts(options), max_retries=0)

    try:
        connections = Connections(make, expected_streams)
    except ValueError as error:
        raise UnusableServerError(f"--url {options.url}: {error}") from error
    async with connections:
        with connections.lease() as client:
            served = await _served_model(client, options)
        info = await fetch_server_info(options.root, options.api_key)
        yield Target(connections, replace(options, model=served), info)


def _timeouts(options: TargetOptions) -> tuple[float, float, float, float]:
    """Connect, read, write, pool: `Target.measure` limits the whole, these only stop a connection that is dead."""
    return (min(_CONNECT_SECONDS, options.timeout), options.timeout, options.timeout, options.timeout)


async def _served_model(client: AsyncSglJax, options: TargetOptions) -> str:
    """Return the model to ask for. Asks the server even when the name is given: that is how an absent one shows."""
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            models = await client.models.list()
    except (APIConnectionError, TimeoutError) as error:
        # The client's own message speaks of its arguments; its cause says what the network said.
        reason = str(error.__cause__ or "") or f"no answer within {_PROBE_SECONDS:g} s"
        raise UnusableServerError(
            f"cannot reach a server at {options.root} ({reason}): start one there, or correct --url"
        ) from error
    except APIError as error:
        if error.status in (401, 403):
            raise UnusableServerError(
                f"{options.root} refuses the API key: pass the right one with --api-key"
            ) from error
        if options.model is not None:
            return options.model
        raise UnusableServerError(
            f"{options.root} does not list its models ({error}): name one with --model"
        ) from error
    except SglJaxClientError as error:
        if options.model is not None:
            return options.model
        raise UnusableServerError(f"{options.root} does not answer as an OpenAI-compatible server: {error}") from error
    if options.model is not None:
        return options.model
    for card in models.data:
        return card.id
    raise UnusableServerError(f"{options.root} serves no model: name one with --model")


def _carries_output(chunk: Chunk) -> bool:
    """Whether a chunk brings something the model wrote; the one with only the role, or only `usage`, does not."""
    if isinstance(chunk, Completion):
        return any(choice.text for choice in chunk.choices)
    return any(c.delta.content or c.delta.reasoning_content or c.delta.tool_calls for c in chunk.choices)


def _classify(error: SglJaxClientError) -> RequestFailure:
    message = " ".join(str(error).split()) or type(error).__name__
    match error:
        case APIError(status=int(status)):
            return RequestFailure(f"http_{status}", message, status)
        case APITimeoutError():
            return RequestFailure("timeout", message)
        case APIConnectionError():
            return RequestFailure("connection", message)
        case StreamError() | InvalidResponseError() | APIError():
            return RequestFailure("stream", message)
        case _:
            return RequestFailure("client", message)
