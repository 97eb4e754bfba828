"""The one way from a job to text: submit, follow the outputs, detokenize, abort what is left.

Every generating route runs through `Generation`; they differ only in how they make a `Job` and how
they write the pieces down.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from sgl_jax.engine.errors import EngineDeadError, SglJaxError
from sgl_jax.engine.messages import Finish, GenerateRequest, TokenDelta, TokenLogprobs
from sgl_jax.engine.text.stream import TextStream
from sgl_jax.server.context import ServerContext
from sgl_jax.server.errors import from_finish

_NO_FINISH = "The engine ended a sequence without saying why; send the request again."


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt, as ids, and as text when it came as text."""

    ids: list[int]
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one HTTP request asks of the engine.

    Attributes:
        id: the answer's public id.
        requests: sequences to generate, in the order of their index in the answer.
        prompts: the distinct prompts; sequence `i` continues prompt `i // n`.
        n: sequences a prompt.
        aliases: further public ids by which sequences may be aborted -> their engine ids.
        renames: the engine's field names -> the caller's, for errors.
    """

    id: str
    requests: list[GenerateRequest]
    prompts: list[Prompt]
    n: int = 1
    aliases: Mapping[str, list[str]] = field(default_factory=dict)
    renames: Mapping[str, str] = field(default_factory=dict)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts, each counted once."""
        return sum(len(prompt.ids) for prompt in self.prompts)


@dataclass(slots=True)
class Piece:
    """What one engine step adds to one sequence. The last piece of a sequence carries `finish`."""

    index: int
    text: str
    token_ids: list[int]
    logprobs: list[TokenLogprobs]
    cached_tokens: int
    finish: Finish | None


@dataclass(slots=True)
class Sequence:
    """One finished sequence."""

    text: str
    token_ids: list[int]
    logprobs: list[TokenLogprobs]
    cached_tokens: int
    finish: Finish


class Generation:
    """A running job: an async context manager that yields pieces until every sequence has finished.

    Leaving the context aborts in the engine whatever has not finished, so a cancelled or failed
    handler never leaves a slot occupied.

    Raises (from iteration):
        ApiError: the engine refused or failed a sequence.
        EngineDeadError: the engine is gone.
    """

    def __init__(self, context: ServerContext, job: Job) -> None:
        self._engine = context.engine
        self._live = context.live
        self._job = job
        self._names = {**job.aliases, job.id: [request.request_id for request in job.requests]}
        self._open: dict[int, str] = {}  # index -> engine id of the sequences that go on
        self._texts = [TextStream(context.tokenizer, request.sampling) for request in job.requests]
        self._outputs: AsyncIterator[TokenDelta] | None = None  # of the only sequence
        self._queue: asyncio.Queue[tuple[int, TokenDelta | Exception]] = asyncio.Queue()  # of several
        self._pumps: dict[int, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        requests = self._job.requests
        self._live.add(self._names)
        try:
            for index, request in enumerate(requests):
                await self._engine.submit(request)
                self._open[index] = request.request_id
                # Asked for at once: somebody's abort may come before the first iteration.
                outputs = self._engine.outputs(request.request_id)
                if len(requests) == 1:
                    self._outputs = outputs
                else:
                    self._pumps[index] = asyncio.create_task(self._pump(index, outputs))
        except BaseException:
            await self._release()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._release()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        if not self._open:
            raise StopAsyncIteration
        index, delta = await self._next_delta()
        step = self._texts[index].push(delta)
        if step.finish is not None:
            request_id = self._open.pop(index)
            if step.finish.reason == "error":
                raise from_finish(step.finish, self._job.renames)
            if delta.finish is None:  # a stop string: the engine does not know yet
                await self._stop(index, request_id)
        return Piece(index, step.text, delta.token_ids, delta.logprobs, delta.cached_tokens, step.finish)

    async def _next_delta(self) -> tuple[int, TokenDelta]:
        if self._outputs is not None:
            delta = await anext(self._outputs, None)
            if delta is None:
                raise EngineDeadError(_NO_FINISH)
            return 0, delta
        while True:
            index, item = await self._queue.get()
            if index in self._open:  # else: a leftover behind a stop string
                if isinstance(item, Exception):
                    raise item
                return index, item

    async def _pump(self, index: int, outputs: AsyncIterator[TokenDelta]) -> None:
        try:
            finished = False
            async for delta in outputs:
                finished = delta.finish is not None
                self._queue.put_nowait((index, delta))
            if not finished:
                raise EngineDeadError(_NO_FINISH)
        except Exception as error:  # noqa: BLE001  (the consumer raises it)
            self._queue.put_nowait((index, error))

    async def _stop(self, index: int, request_id: str) -> None:
        if pump := self._pumps.get(index):
            pump.cancel()
        with contextlib.suppress(SglJaxError):
            await self._engine.abort([request_id])

    async def _release(self) -> None:
        self._live.remove(self._names)
        unfinished = list(self._open.values())
        self._open.clear()
        for pump in self._pumps.values():
            pump.cancel()
        try:
            if unfinished:
                with contextlib.suppress(SglJaxError):  # an engine that is gone holds no slots
                    await self._engine.abort(unfinished)
        finally:
            await asyncio.gather(*self._pumps.values(), return_exceptions=True)
            close = getattr(self._outputs, "aclose", None)
            if close is not None:
                await close()


async def collect(context: ServerContext, job: Job) -> list[Sequence]:
    """Runs a job to its end; sequences come in the order of `job.requests`."""
    texts: list[list[str]] = [[] for _ in job.requests]
    done = [Sequence("", [], [], 0, Finish(reason="abort")) for _ in job.requests]
    async with Generation(context, job) as pieces:
        async for piece in pieces:
            sequence = done[piece.index]
            texts[piece.index].append(piece.text)
            sequence.token_ids += piece.token_ids
            sequence.logprobs += piece.logprobs
            sequence.cached_tokens += piece.cached_tokens
            if piece.finish is not None:
                sequence.finish = piece.finish
    for sequence, parts in zip(done, texts, strict=True):
        sequence.text = "".join(parts)
    return done
