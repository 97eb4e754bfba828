"""What the engine said -> OpenAI's answer objects and stream events.

Both routes have two writers: one for a finished job, one for a running one. Chunks are msgspec
structs, encoded once; nothing here grows with the length of the answer so far.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator

from msgspec import UNSET, UnsetType

from sgl_jax.server.context import ServerContext
from sgl_jax.server.generation import Generation, Job, Sequence
from sgl_jax.server.openai.logprobs import chat_logprobs, completion_logprobs
from sgl_jax.server.openai.schema.chat import (
    AssistantMessage,
    ChatChoice,
    ChatChunk,
    ChatCompletion,
    ChunkChoice,
    Delta,
)
from sgl_jax.server.openai.schema.common import StreamOptions, Usage
from sgl_jax.server.openai.schema.completions import Completion, CompletionChoice
from sgl_jax.server.openai.usage import UsageCounter
from sgl_jax.server.sse import DONE, event
from sgl_jax.server.token_text import as_text, token_shower

_ROLE = Delta(role="assistant", content="")
_NOTHING = Delta()


def chat_completion(context: ServerContext, job: Job, sequences: list[Sequence], *, logprobs: bool) -> ChatCompletion:
    """The answer of a finished chat job."""
    show = token_shower(context.tokenizer)
    return ChatCompletion(
        id=job.id,
        created=int(time.time()),
        model=context.served_model_name,
        choices=[
            ChatChoice(
                index=index,
                message=AssistantMessage(sequence.text),
                finish_reason=sequence.finish.reason,
                logprobs=chat_logprobs(sequence.token_ids, sequence.logprobs, show) if logprobs else None,
                matched_stop=sequence.finish.matched,
            )
            for index, sequence in enumerate(sequences)
        ],
        usage=UsageCounter.of(job, sequences).usage(),
    )


async def chat_events(
    context: ServerContext, job: Job, options: StreamOptions, *, logprobs: bool
) -> AsyncGenerator[bytes]:
    """A chat job as events: role, text, finish, usage if asked for, `[DONE]`."""
    created, model, show = int(time.time()), context.served_model_name, token_shower(context.tokenizer)
    counter = UsageCounter(job)

    def chunk(choice: ChunkChoice) -> bytes:
        usage = _chunk_usage(options, counter)
        return event(ChatChunk(id=job.id, created=created, model=model, choices=[choice], usage=usage))

    async with Generation(context, job) as pieces:
        unopened = True
        async for piece in pieces:
            counter.add(piece)
            index, finish, entries = piece.index, piece.finish, None
            events = []
            if unopened:  # no earlier: until the first token a refusal can still have its own status
                unopened = False
                events = [chunk(ChunkChoice(number, _ROLE)) for number in range(len(job.requests))]
            if logprobs and piece.logprobs:
                entries = chat_logprobs(piece.token_ids, piece.logprobs, show)
            if piece.text or entries is not None:
                events.append(chunk(ChunkChoice(index, Delta(piece.text), logprobs=entries)))
            if finish is not None:
                events.append(chunk(ChunkChoice(index, _NOTHING, finish.reason, matched_stop=finish.matched)))
            if events:
                yield b"".join(events)
    if options.include_usage:
        yield event(ChatChunk(id=job.id, created=created, model=model, choices=[], usage=counter.usage()))
    yield DONE


def completion(
    context: ServerContext, job: Job, sequences: list[Sequence], *, echo: bool, logprobs: bool
) -> Completion:
    """The answer of a finished completion job."""
    show = token_shower(context.tokenizer)
    echoes = _echoes(context, job, echo)
    return Completion(
        id=job.id,
        created=int(time.time()),
        model=context.served_model_name,
        choices=[
            CompletionChoice(
                index=index,
                text=echoes[index // job.n] + sequence.text,
                finish_reason=sequence.finish.reason,
                logprobs=completion_logprobs(sequence.token_ids, sequence.logprobs, show, 0) if logprobs else None,
                matched_stop=sequence.finish.matched,
            )
            for index, sequence in enumerate(sequences)
        ],
        usage=UsageCounter.of(job, sequences).usage(),
    )


async def completion_events(
    context: ServerContext, job: Job, options: StreamOptions, *, echo: bool, logprobs: bool
) -> AsyncGenerator[bytes]:
    """A completion job as events: text (the last with its finish reason), usage if asked for, `[DONE]`."""
    created, model, show = int(time.time()), context.served_model_name, token_shower(context.tokenizer)
    counter = UsageCounter(job)
    echoes = _echoes(context, job, echo)
    unsaid = {index: echoes[index // job.n] for index in range(len(job.requests))} if echo else {}
    offsets = [0] * len(job.requests)

    def chunk(choices: list[CompletionChoice], usage: Usage | UnsetType | None) -> bytes:
        return event(Completion(id=job.id, created=created, model=model, choices=choices, usage=usage))

    async with Generation(context, job) as pieces:
        async for piece in pieces:
            counter.add(piece)
            index, finish, columns = piece.index, piece.finish, None
            if logprobs and piece.logprobs:
                columns = completion_logprobs(piece.token_ids, piece.logprobs, show, offsets[index])
                offsets[index] += sum(len(as_text(show(token_id))) for token_id in piece.token_ids)
            text = unsaid.pop(index, "") + piece.text
            if not (text or columns or finish):
                continue
            reason, matched = (None, None) if finish is None else (finish.reason, finish.matched)
            yield chunk([CompletionChoice(index, text, reason, columns, matched)], _chunk_usage(options, counter))
    if options.include_usage:
        yield chunk([], counter.usage())
    yield DONE


def _echoes(context: ServerContext, job: Job, echo: bool) -> list[str]:
    """Each prompt's text when the answer is to begin with it, else empty texts."""
    if not echo:
        return [""] * len(job.prompts)
    return [context.tokenizer.decode(prompt.ids) if prompt.text is None else prompt.text for prompt in job.prompts]


def _chunk_usage(options: StreamOptions, counter: UsageCounter) -> Usage | UnsetType | None:
    """`usage` of a chunk with text: the counts so far, null when a last chunk will bring it, or left out."""
    if options.continuous_usage_stats:
        return counter.usage()
    return None if options.include_usage else UNSET
