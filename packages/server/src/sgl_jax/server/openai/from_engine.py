"""What the engine said -> OpenAI's answer objects and stream events.

Both routes have two writers: one for a finished job, one for a running one. Chunks are msgspec
structs, encoded once; nothing here grows with the length of the answer so far.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator

from msgspec import UNSET, UnsetType

from sgl_jax.engine.messages import TokenLogprobs
from sgl_jax.server.answer_reader import AnswerReader
from sgl_jax.server.context import ServerContext
from sgl_jax.server.generation import Generation, Job, Piece, Sequence
from sgl_jax.server.openai.best_of import likeliest
from sgl_jax.server.openai.logprobs import chat_logprobs, completion_logprobs, prompt_logprobs
from sgl_jax.server.openai.parsed import deltas_of, finish_reason, message_of, read_answer
from sgl_jax.server.openai.schema.chat import ChatChoice, ChatChunk, ChatCompletion, ChunkChoice, Delta
from sgl_jax.server.openai.schema.common import PromptLogprobs, StreamOptions, Usage
from sgl_jax.server.openai.schema.completions import Completion, CompletionChoice
from sgl_jax.server.openai.usage import UsageCounter
from sgl_jax.server.sse import DONE, event
from sgl_jax.server.token_text import ShowBytes, as_text, token_shower

_ROLE = Delta(role="assistant", content="")
_NOTHING = Delta()


def chat_completion(
    context: ServerContext, job: Job, sequences: list[Sequence], *, logprobs: bool, of_prompt: int | None = None
) -> ChatCompletion:
    """The answer of a finished chat job.

    Args:
        of_prompt: how many likeliest tokens to show at each place of the prompt; None shows nothing of it.
    """
    show = token_shower(context.tokenizer)
    answers = [read_answer(job.answer.new_parser(), sequence.text) for sequence in sequences]
    return ChatCompletion(
        id=job.id,
        created=int(time.time()),
        model=context.served_model_name,
        choices=[
            ChatChoice(
                index=index,
                message=message_of(answer),
                finish_reason=finish_reason(sequence.finish, bool(answer.calls)),
                logprobs=chat_logprobs(sequence.token_ids, sequence.logprobs, show) if logprobs else None,
                matched_stop=sequence.finish.matched,
            )
            for index, (sequence, answer) in enumerate(zip(sequences, answers, strict=True))
        ],
        usage=UsageCounter.of(job, sequences).usage(),
        prompt_logprobs=_of_prompt(job, 0, sequences[0], of_prompt, show),
    )


async def chat_events(
    context: ServerContext, job: Job, options: StreamOptions, *, logprobs: bool
) -> AsyncGenerator[bytes]:
    """A chat job as events: role, text and calls, finish, usage if asked for, `[DONE]`."""
    created, model, show = int(time.time()), context.served_model_name, token_shower(context.tokenizer)
    counter = UsageCounter(job)
    reader = AnswerReader(job)
    calling: set[int] = set()

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
            deltas = deltas_of(reader.read(piece))
            if entries is not None and not deltas:
                deltas = [_NOTHING]
            for delta in deltas:
                events.append(chunk(ChunkChoice(index, delta, logprobs=entries)))
                entries = None  # they came with the tokens, whatever these turned out to say
                if delta.tool_calls:
                    calling.add(index)
            if finish is not None:
                reason = finish_reason(finish, index in calling)
                events.append(chunk(ChunkChoice(index, _NOTHING, reason, matched_stop=finish.matched)))
            if events:
                yield b"".join(events)
    if options.include_usage:
        yield event(ChatChunk(id=job.id, created=created, model=model, choices=[], usage=counter.usage()))
    yield DONE


def completion(
    context: ServerContext,
    job: Job,
    sequences: list[Sequence],
    *,
    echo: bool,
    logprobs: bool,
    of_prompt: int | None = None,
    kept: int | None = None,
) -> Completion:
    """The answer of a finished completion job.

    Args:
        of_prompt: as for `chat_completion`.
        kept: how many of each prompt's sequences to answer with, the likeliest first; None answers with all.
    """
    show = token_shower(context.tokenizer)
    echoes = _echoes(context, job, echo)
    answers = [*enumerate(sequences)] if kept is None else likeliest(sequences, job.n, kept)
    return Completion(
        id=job.id,
        created=int(time.time()),
        model=context.served_model_name,
        choices=[
            CompletionChoice(
                index=place,
                text=echoes[index // job.n] + sequence.text,
                finish_reason=sequence.finish.reason,
                logprobs=completion_logprobs(*_scored(job, index, sequence, echo=echo), show, 0) if logprobs else None,
                matched_stop=sequence.finish.matched,
                prompt_logprobs=_of_prompt(job, index, sequence, of_prompt, show),
            )
            for place, (index, sequence) in enumerate(answers)
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
            token_ids, entries = _scored(job, index, piece, echo=index in unsaid)
            if logprobs and entries:
                columns = completion_logprobs(token_ids, entries, show, offsets[index])
                offsets[index] += sum(len(as_text(show(token_id))) for token_id in token_ids)
            text = unsaid.pop(index, "") + piece.text
            if not (text or columns or finish):
                continue
            reason, matched = (None, None) if finish is None else (finish.reason, finish.matched)
            yield chunk([CompletionChoice(index, text, reason, columns, matched)], _chunk_usage(options, counter))
    if options.include_usage:
        yield chunk([], counter.usage())
    yield DONE


def _scored(
    job: Job, index: int, part: Sequence | Piece, *, echo: bool
) -> tuple[list[int], list[TokenLogprobs | None]]:
    """Tokens and their log-probabilities, those of the prompt first where the answer begins with it."""
    if not echo:
        return part.token_ids, [*part.logprobs]
    request = job.requests[index]
    shown, computed = request.sampling.logprobs, request.sampling.prompt_logprobs
    of_prompt = part.prompt_logprobs
    if shown != computed:  # `prompt_logprobs` asked for more of them
        of_prompt = [TokenLogprobs(entry.logprob, entry.top[:shown]) for entry in of_prompt]
    return [*request.prompt_ids, *part.token_ids], [None, *of_prompt, *part.logprobs]


def _of_prompt(
    job: Job, index: int, sequence: Sequence, top: int | None, show: ShowBytes
) -> PromptLogprobs | UnsetType:
    """What `prompt_logprobs` asked for."""
    if top is None:
        return UNSET
    return prompt_logprobs(job.requests[index].prompt_ids, sequence.prompt_logprobs, top, show)


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
