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
from sgl_jax.server.deadline import Deadline, took_too_long
from sgl_jax.server.errors import from_finish
from sgl_jax.server.metrics.counters import Counters, Outcome, SequenceClock
from sgl_jax.server.parsing.chat_format import PLAIN, AnswerFormat

TOGETHER = 16
"""Tokens of an answer that is not streamed are taken in so many at a time; metrics know the time of all of them."""

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
        answer: how to read the texts; what it looks for is left in them.
        is_probe: whether it is the server's own, and does not count in its metrics.
    """

    id: str
    requests: list[GenerateRequest]
    prompts: list[Prompt]
    n: int = 1
    aliases: Mapping[str, list[str]] = field(default_factory=dict)
    renames: Mapping[str, str] = field(default_factory=dict)
    answer: AnswerFormat = PLAIN
    is_probe: bool = False

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
    prompt_logprobs: list[TokenLogprobs] = field(default_factory=list)
    embedding: bytes = b""


@dataclass(slots=True)
class Sequence:
    """One finished sequence."""

    text: str
    token_ids: list[int]
    logprobs: list[TokenLogprobs]
    cached_tokens: int
    finish: Finish
    prompt_logprobs: list[TokenLogprobs] = field(default_factory=list)
    embedding: bytes = b""


class Generation:
    """A running job: an async context manager that yields pieces until every sequence has finished.

    Leaving the context aborts in the engine whatever has not finished, so a cancelled or failed
    handler never leaves a slot occupied.

    Args:
        context: the server's parts.
        job: what is asked for.
        every: how many tokens a piece may wait for, but for a sequence's first one; None is as the server streams.

    Raises (from iteration):
        ApiError: the engine refused or failed a sequence, or it took longer than the server allows.
        EngineDeadError: the engine is gone.
    """

    def __init__(self, context: ServerContext, job: Job, every: int | None = None) -> None:
        self._engine = context.engine
        self._every = every or context.stream_interval
        self._live = context.live
        self._job = job
        self._names = {**job.aliases, job.id: [request.request_id for request in job.requests]}
        self._open: dict[int, str] = {}  # index -> engine id of the sequences that go on
        tokenizer = context.tokenizer.showing(job.answer.markers)
        self._texts = [TextStream(tokenizer, request.sampling) for request in job.requests]
        counters = Counters() if job.is_probe else context.counters
        self._clocks = {index: SequenceClock(counters) for index in range(len(job.requests))}
        self._trace = None if context.traces is None or job.is_probe else context.traces.begin(job.requests)
        self._outputs: AsyncIterator[TokenDelta] | None = None  # of the only sequence
        # Of several. Bounded: while its reader lags, what comes is joined where it comes in.
        self._queue: asyncio.Queue[tuple[int, TokenDelta | Exception]] = asyncio.Queue(len(job.requests))
        self._pumps: dict[int, asyncio.Task[None]] = {}
        self._deadline = Deadline(context.limits.request_seconds, self._abort_open)

    async def __aenter__(self) -> Self:
        requests = self._job.requests
        self._live.add(self._names)
        self._deadline.start()
        try:
            for index, request in enumerate(requests):
                await self._engine.submit(request)
                self._open[index] = request.request_id
                # Asked for at once: somebody's abort may come before the first iteration.
                outputs = self._engine.outputs(request.request_id, self._every)
                if len(requests) == 1:
                    self._outputs = outputs
                else:
                    self._pumps[index] = asyncio.create_task(self._pump(index, outputs))
        except BaseException:
            await self._release("error")
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._release("error" if kind is not None and issubclass(kind, Exception) else "disconnect")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        if not self._open:
            raise StopAsyncIteration
        index, delta = await self._next_delta()
        step = self._texts[index].push(delta)
        self._clocks[index].tick(delta)
        if step.finish is not None:
            request_id = self._open.pop(index)
            self._end(index, step.finish.reason)
            if step.finish.reason == "error":
                raise from_finish(step.finish, self._job.renames)
            if step.finish.reason == "abort" and self._deadline.passed:
                raise took_too_long(self._deadline)
            if delta.finish is None:  # a stop string: the engine does not know yet
                await self._stop(index, request_id)
        token_ids, logprobs = delta.token_ids, delta.logprobs
        if step.num_unused:  # several came at once, some of them behind a stop string
            token_ids, logprobs = token_ids[: -step.num_unused], logprobs[: -step.num_unused]
        return Piece(
            index,
            step.text,
            token_ids,
            logprobs,
            delta.cached_tokens,
            step.finish,
            delta.prompt_logprobs,
            delta.embedding,
        )

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
                await self._queue.put((index, delta))
            if not finished:
                raise EngineDeadError(_NO_FINISH)
        except Exception as error:  # noqa: BLE001  (the consumer raises it)
            await self._queue.put((index, error))

    async def _abort_open(self) -> None:
        with contextlib.suppress(SglJaxError):
            await self._engine.abort(list(self._open.values()))

    async def _stop(self, index: int, request_id: str) -> None:
        if pump := self._pumps.get(index):
            pump.cancel()
        with contextlib.suppress(SglJaxError):
            await self._engine.abort([request_id])

    def _end(self, index: int, outcome: Outcome) -> None:
        timeline = self._clocks.pop(index).end(outcome)
        if self._trace is not None:
            self._trace(index, timeline)

    async def _release(self, outcome: Outcome) -> None:
        self._live.remove(self._names)
        self._deadline.stop()
        for index in list(self._clocks):
            self._end(index, outcome)
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
    # Nobody looks at pieces, but a stop string must be found when it comes.
    every = 1 if any(request.sampling.stop for request in job.requests) else TOGETHER
    texts: list[list[str]] = [[] for _ in job.requests]
    done = [Sequence("", [], [], 0, Finish(reason="abort")) for _ in job.requests]
    async with Generation(context, job, every) as pieces:
        async for piece in pieces:
            sequence = done[piece.index]
            texts[piece.index].append(piece.text)
            sequence.token_ids += piece.token_ids
            sequence.logprobs += piece.logprobs
            sequence.prompt_logprobs += piece.prompt_logprobs
            sequence.cached_tokens += piece.cached_tokens
            sequence.embedding += piece.embedding
            if piece.finish is not None:
                sequence.finish = piece.finish
    for sequence, parts in zip(done, texts, strict=True):
        sequence.text = "".join(parts)
    return done
