"""A transcript -> the answer of `/v1/responses`, whole and as events."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from sgl_jax.server.context import ServerContext
from sgl_jax.server.errors import ApiError
from sgl_jax.server.generation import Job
from sgl_jax.server.openai.logprobs import chat_logprobs
from sgl_jax.server.openai.responses import events
from sgl_jax.server.openai.responses.items import (
    FunctionCallItem,
    IncompleteDetails,
    InputTokensDetails,
    MessageItem,
    OutputItem,
    OutputText,
    OutputTokensDetails,
    ReasoningItem,
    ReasoningText,
    ResponseErrorDetail,
    ResponseObject,
    ResponseUsage,
    Status,
)
from sgl_jax.server.openai.responses.schema import ReasoningConfig, ResponsesRequest, TextConfig
from sgl_jax.server.openai.responses.store import item_id
from sgl_jax.server.openai.schema.chat import TokenLogprob
from sgl_jax.server.sse import named_event
from sgl_jax.server.token_text import ShowBytes, token_shower
from sgl_jax.server.transcript import Block, Change, Closed, Grown, Kind, Opened, Scored, Transcript

_ID_PREFIXES = {Kind.TEXT: "msg", Kind.REASONING: "rs", Kind.CALL: "fc"}


def unanswered(body: ResponsesRequest, context: ServerContext, job: Job) -> ResponseObject:
    """The answer before anything is said."""
    return ResponseObject(
        id=job.id,
        created_at=int(time.time()),
        status="in_progress",
        model=context.served_model_name,
        output=[],
        instructions=body.instructions,
        previous_response_id=body.previous_response_id,
        store=body.store is not False,
        max_output_tokens=body.max_output_tokens,
        parallel_tool_calls=body.parallel_tool_calls is not False,
        tools=body.tools or [],
        tool_choice=body.tool_choice or "auto",
        text=body.text or TextConfig(),
        reasoning=body.reasoning or ReasoningConfig(),
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        top_logprobs=body.top_logprobs or 0,
        metadata=body.metadata or {},
        user=body.user,
    )


class Writer:
    """Writes one answer down.

    Args:
        beginning: the answer before anything is said.
    """

    def __init__(self, beginning: ResponseObject, context: ServerContext, job: Job) -> None:
        self.transcript = Transcript(job)
        self._beginning = beginning
        self._show: ShowBytes = token_shower(context.tokenizer)
        self._numbers = itertools.count()
        self._begun = False

    def response(self) -> ResponseObject:
        """The answer, which has come to its end."""
        finish = self.transcript.finish
        reason = None
        if finish is None or finish.reason == "abort":
            reason = "abort"
        elif finish.reason == "length":
            reason = "max_output_tokens"
        status: Status = "completed" if reason is None else "incomplete"
        return replace(
            self._so_far(status),
            completed_at=int(time.time()) if reason is None else None,
            incomplete_details=None if reason is None else IncompleteDetails(reason),
        )

    def follow(self, changes: Sequence[Change]) -> list[events.ResponseEvent]:
        """The events that tell of changes in the transcript; the first time also those of the beginning."""
        said = self._begin()
        for change in changes:
            match change:
                case Opened(block):
                    said += self._opened(block)
                case Grown(block, text, scored):
                    said.append(self._grown(block, text, scored))
                case Closed(block):
                    said += self._closed(block)
        return said

    def end(self, response: ResponseObject) -> events.ResponseEvent:
        """The last event."""
        kind = events.Completed if response.status == "completed" else events.Incomplete
        return kind(sequence_number=next(self._numbers), response=response)

    def failed(self, error: ApiError) -> bytes:
        """The last event of an answer that failed after its stream had begun, encoded."""
        code = {400: "invalid_prompt", 429: "rate_limit_exceeded"}.get(error.status, "server_error")
        response = replace(self._so_far("failed"), error=ResponseErrorDetail(code, error.detail.message))
        said = [*self._begin(), events.Failed(sequence_number=next(self._numbers), response=response)]
        return b"".join(map(named_event, said))

    def _begin(self) -> list[events.ResponseEvent]:
        """The first events, once."""
        if self._begun:
            return []
        self._begun = True
        number, beginning = self._numbers, self._beginning
        return [
            events.Created(sequence_number=next(number), response=beginning),
            events.InProgress(sequence_number=next(number), response=beginning),
        ]

    def _so_far(self, status: Status) -> ResponseObject:
        transcript, counted = self.transcript, self.transcript.usage.usage()
        return replace(
            self._beginning,
            status=status,
            output=[self._item(block) for block in transcript.blocks],
            usage=ResponseUsage(
                input_tokens=counted.prompt_tokens,
                input_tokens_details=InputTokensDetails(counted.prompt_tokens_details.cached_tokens),
                output_tokens=counted.completion_tokens,
                output_tokens_details=OutputTokensDetails(transcript.reasoning_tokens),
                total_tokens=counted.total_tokens,
            ),
        )

    def _opened(self, block: Block) -> Iterator[events.ResponseEvent]:
        index, number, name = block.index, self._numbers, self._id(block)
        part: OutputText | ReasoningText | None = None
        match block.kind:
            case Kind.TEXT:
                item: OutputItem = MessageItem(id=name, status="in_progress", content=[])
                part = OutputText(text="")
            case Kind.REASONING:
                item = ReasoningItem(id=name, status="in_progress", content=[])
                part = ReasoningText(text="")
            case Kind.CALL:
                item = FunctionCallItem(
                    id=name, status="in_progress", call_id=block.call_id, name=block.name, arguments=""
                )
        yield events.ItemAdded(sequence_number=next(number), output_index=index, item=item)
        if part is not None:
            yield events.PartAdded(sequence_number=next(number), item_id=name, output_index=index, part=part)

    def _grown(self, block: Block, text: str, scored: Sequence[Scored]) -> events.ResponseEvent:
        number, name, index = next(self._numbers), self._id(block), block.index
        match block.kind:
            case Kind.TEXT:
                logprobs = self._logprobs(scored)
                return events.TextDelta(
                    sequence_number=number, item_id=name, output_index=index, delta=text, logprobs=logprobs
                )
            case Kind.REASONING:
                return events.ReasoningDelta(sequence_number=number, item_id=name, output_index=index, delta=text)
            case Kind.CALL:
                return events.ArgumentsDelta(sequence_number=number, item_id=name, output_index=index, delta=text)

    def _closed(self, block: Block) -> Iterator[events.ResponseEvent]:
        item, index, number = self._item(block), block.index, self._numbers
        match item:
            case MessageItem(content=[part]):
                yield events.TextDone(
                    sequence_number=next(number),
                    item_id=item.id,
                    output_index=index,
                    text=part.text,
                    logprobs=part.logprobs,
                )
                yield events.PartDone(sequence_number=next(number), item_id=item.id, output_index=index, part=part)
            case ReasoningItem(content=[thought]):
                yield events.ReasoningDone(
                    sequence_number=next(number), item_id=item.id, output_index=index, text=thought.text
                )
                yield events.PartDone(sequence_number=next(number), item_id=item.id, output_index=index, part=thought)
            case FunctionCallItem():
                yield events.ArgumentsDone(
                    sequence_number=next(number),
                    item_id=item.id,
                    output_index=index,
                    name=item.name,
                    arguments=item.arguments,
                )
        yield events.ItemDone(sequence_number=next(number), output_index=index, item=item)

    def _item(self, block: Block) -> OutputItem:
        name: str = self._id(block)
        status: Status = "completed" if block.whole else "incomplete"
        match block.kind:
            case Kind.TEXT:
                text = OutputText(text=block.text, logprobs=self._logprobs(block.scored))
                return MessageItem(id=name, status=status, content=[text])
            case Kind.REASONING:
                return ReasoningItem(id=name, status=status, content=[ReasoningText(text=block.text)])
            case Kind.CALL:
                return FunctionCallItem(
                    id=name, status=status, call_id=block.call_id, name=block.name, arguments=block.text
                )

    def _id(self, block: Block) -> str:
        return item_id(_ID_PREFIXES[block.kind], self._beginning.id, block.index)

    def _logprobs(self, scored: Sequence[Scored]) -> list[TokenLogprob]:
        ids, logprobs = [token_id for token_id, _ in scored], [entry for _, entry in scored]
        return chat_logprobs(ids, logprobs, self._show).content
