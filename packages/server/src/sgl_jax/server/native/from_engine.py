"""What the engine said -> native answers and stream events."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable
from typing import Any

from msgspec import UNSET

from sgl_jax.engine.messages import Finish, TokenLogprobs
from sgl_jax.server.context import ServerContext
from sgl_jax.server.generation import Generation, Job, Sequence
from sgl_jax.server.native.schema import LogprobEntry, MetaInfo, NativeAnswer, NativeFinishReason
from sgl_jax.server.sse import DONE, event
from sgl_jax.server.token_text import as_text, finite, token_shower


class NativeWriter:
    """Writes the answers of one job.

    Args:
        rid: the caller's own id for all prompts, or one each, or None.
        with_text: whether each log-probability comes with its token's text.
        started: `time.perf_counter()` at the request's arrival.
    """

    def __init__(
        self,
        context: ServerContext,
        job: Job,
        rid: str | list[str] | None,
        *,
        with_text: bool,
        started: float,
    ) -> None:
        self._job = job
        self._rid = rid
        self._with_text = with_text
        self._started = started
        self._show = token_shower(context.tokenizer)

    def answer(
        self, index: int, so_far: Sequence, finish: Finish | None, *, indexed: bool, delta: Sequence | None = None
    ) -> NativeAnswer:
        """The answer object of one sequence.

        Args:
            so_far: all of the sequence; its counts go into `meta_info`.
            finish: None while it goes on.
            indexed: whether the answer says which sequence it is.
            delta: what to show instead of the whole sequence.
        """
        shown = so_far if delta is None else delta
        inputs, input_rivals, input_chosen = self._inputs(index, shown)
        sampling = self._job.requests[index].sampling
        asked, top, chosen = sampling.logprobs is not None, bool(sampling.logprobs), sampling.token_ids_logprob
        return NativeAnswer(
            text=shown.text,
            output_ids=shown.token_ids,
            meta_info=MetaInfo(
                id=self._id(index),
                finish_reason=None if finish is None else _finish_reason(finish, len(so_far.token_ids)),
                prompt_tokens=len(self._job.requests[index].prompt_ids),
                completion_tokens=len(so_far.token_ids),
                cached_tokens=so_far.cached_tokens,
                e2e_latency=time.perf_counter() - self._started,
                input_token_logprobs=inputs if asked else UNSET,
                output_token_logprobs=self._entries(shown) if asked else UNSET,
                input_top_logprobs=input_rivals if top else UNSET,
                output_top_logprobs=[self._rivals(one) for one in shown.logprobs] if top else UNSET,
                input_token_ids_logprobs=input_chosen if chosen else UNSET,
                output_token_ids_logprobs=[self._shown(zip(chosen, one.chosen, strict=True)) for one in shown.logprobs]
                if chosen
                else UNSET,
            ),
            index=index if indexed else UNSET,
        )

    def _id(self, index: int) -> str:
        job = self._job
        if isinstance(self._rid, list):
            rid = self._rid[index // job.n]
            return rid if job.n == 1 else f"{rid}_{index % job.n}"
        base = self._rid or job.id
        return base if len(job.requests) == 1 else f"{base}_{index}"

    def _entries(self, sequence: Sequence) -> list[LogprobEntry]:
        pairs = zip(sequence.token_ids, sequence.logprobs, strict=False)
        return self._shown((token_id, entry.logprob) for token_id, entry in pairs)

    def _inputs(
        self, index: int, sequence: Sequence
    ) -> tuple[list[LogprobEntry], list[list[LogprobEntry] | None], list[list[LogprobEntry] | None]]:
        """The prompt's entries, their rivals and the chosen tokens', where they were asked for and have come."""
        request = self._job.requests[index]
        start = request.sampling.prompt_logprobs_from
        token_ids = request.prompt_ids[start:]
        entries = [*([None] if start == 0 else []), *sequence.prompt_logprobs]
        if request.sampling.prompt_logprobs is None or len(entries) < len(token_ids):
            return [], [], []
        logprobs = (None if entry is None else entry.logprob for entry in entries)
        rivals = [None if entry is None else self._rivals(entry) for entry in entries]
        tokens = request.sampling.token_ids_logprob
        chosen = [None if entry is None else self._shown(zip(tokens, entry.chosen, strict=True)) for entry in entries]
        return self._shown(zip(token_ids, logprobs, strict=True)), rivals, chosen

    def _rivals(self, entry: TokenLogprobs) -> list[LogprobEntry]:
        return self._shown(entry.top)

    def _shown(self, pairs: Iterable[tuple[int, float | None]]) -> list[LogprobEntry]:
        return [
            (
                None if logprob is None else finite(logprob),
                token_id,
                as_text(self._show(token_id)) if self._with_text else None,
            )
            for token_id, logprob in pairs
        ]


def native_answers(writer: NativeWriter, sequences: list[Sequence], *, batch: bool) -> Any:
    """The answer of a finished job: an object, or a list for a batch."""
    answers = [writer.answer(i, sequence, sequence.finish, indexed=False) for i, sequence in enumerate(sequences)]
    return answers if batch else answers[0]


async def native_events(
    context: ServerContext, job: Job, writer: NativeWriter, *, batch: bool, incremental: bool
) -> AsyncGenerator[bytes]:
    """A job as events with cumulative text and ids, as SGLang's clients expect, or with deltas."""
    so_far = [Sequence("", [], [], 0, Finish(reason="abort")) for _ in job.requests]
    async with Generation(context, job) as pieces:
        async for piece in pieces:
            sequence = so_far[piece.index]
            sequence.token_ids += piece.token_ids
            sequence.cached_tokens += piece.cached_tokens
            delta = None
            if incremental:
                delta = Sequence(piece.text, piece.token_ids, piece.logprobs, 0, sequence.finish, piece.prompt_logprobs)
            else:
                sequence.text += piece.text
                sequence.logprobs += piece.logprobs
                sequence.prompt_logprobs += piece.prompt_logprobs
            yield event(writer.answer(piece.index, sequence, piece.finish, indexed=batch, delta=delta))
    yield DONE


def _finish_reason(finish: Finish, length: int) -> NativeFinishReason:
    match finish.reason:
        case "length":
            return NativeFinishReason("length", length=length)
        case "stop":
            return NativeFinishReason("stop", matched=finish.matched)
        case _:
            return NativeFinishReason("abort", message=finish.message or "Aborted.")
