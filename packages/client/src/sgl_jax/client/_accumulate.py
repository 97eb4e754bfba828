"""From the events of a stream to the answer that would have come without streaming. Pure."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from sgl_jax.client.types._base import ServerModel
from sgl_jax.client.types.chat import (
    ChatChoice,
    ChatChunkChoice,
    ChatCompletion,
    ChatCompletionChunk,
    ChatLogprobs,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
)
from sgl_jax.client.types.completion import Completion, CompletionChoice, CompletionLogprobs
from sgl_jax.client.types.generate import GenerateResponse, MetaInfo

ChunkT = TypeVar("ChunkT", contravariant=True)
FinalT = TypeVar("FinalT", covariant=True)
ModelT = TypeVar("ModelT", ChatCompletion, Completion)

_LOGPROB_LISTS = tuple(name for name in MetaInfo.model_fields if name.endswith("logprobs"))


class Accumulator(Protocol[ChunkT, FinalT]):
    """Adds up the events of one stream."""

    def add(self, chunk: ChunkT) -> str:
        """Takes the next event; returns the text that it adds to the first answer."""

    def result(self) -> FinalT:
        """The answer so far."""


class ChatAccumulator:
    """Adds up chat chunks: contents, reasoning, tool calls and log-probabilities, per choice."""

    def __init__(self) -> None:
        self._completion = ChatCompletion()
        self._choices: dict[int, ChatChoice] = {}
        self._texts: dict[int, list[str]] = {}  # joined at the end: strings that grow would cost their square
        self._reasoning: dict[int, list[str]] = {}
        self._refusals: dict[int, list[str]] = {}
        self._tool_calls: dict[int, dict[int, ToolCall]] = {}
        self._logprobs: dict[int, list[TokenLogprob]] = {}

    def add(self, chunk: ChatCompletionChunk) -> str:
        """Takes the next chunk; returns the text that it adds to choice 0."""
        _take_head(self._completion, chunk)
        for part in chunk.choices:
            choice = self._choices.setdefault(part.index, ChatChoice(index=part.index))
            delta = part.delta
            if delta.role:
                choice.message.role = delta.role
            if delta.content is not None:
                self._texts.setdefault(part.index, []).append(delta.content)
            if delta.reasoning_content is not None:
                self._reasoning.setdefault(part.index, []).append(delta.reasoning_content)
            if delta.refusal is not None:
                self._refusals.setdefault(part.index, []).append(delta.refusal)
            for call in delta.tool_calls or ():
                _add_tool_call(self._tool_calls.setdefault(part.index, {}), call)
            if part.logprobs and part.logprobs.content:
                self._logprobs.setdefault(part.index, []).extend(part.logprobs.content)
            _take_end(choice, part)
        return chunk.text

    def result(self) -> ChatCompletion:
        """The completion so far."""
        for index, choice in self._choices.items():
            choice.message.content = _joined(self._texts.get(index))
            choice.message.reasoning_content = _joined(self._reasoning.get(index))
            choice.message.refusal = _joined(self._refusals.get(index))
            if index in self._tool_calls:
                choice.message.tool_calls = [call for _, call in sorted(self._tool_calls[index].items())]
            if index in self._logprobs:
                choice.logprobs = ChatLogprobs(content=self._logprobs[index])
        self._completion.choices = [self._choices[index] for index in sorted(self._choices)]
        return self._completion


class CompletionAccumulator:
    """Adds up the chunks of a completion, per choice."""

    def __init__(self) -> None:
        self._completion = Completion()
        self._choices: dict[int, CompletionChoice] = {}
        self._texts: dict[int, list[str]] = {}

    def add(self, chunk: Completion) -> str:
        """Takes the next chunk; returns the text that it adds to choice 0."""
        _take_head(self._completion, chunk)
        for part in chunk.choices:
            choice = self._choices.setdefault(part.index, CompletionChoice(index=part.index))
            self._texts.setdefault(part.index, []).append(part.text)
            if part.logprobs:
                choice.logprobs = choice.logprobs or CompletionLogprobs()
                _add_logprobs(choice.logprobs, part.logprobs)
            _take_end(choice, part)
        return chunk.text

    def result(self) -> Completion:
        """The completion so far."""
        for index, choice in self._choices.items():
            choice.text = "".join(self._texts[index])
        self._completion.choices = [self._choices[index] for index in sorted(self._choices)]
        return self._completion


class GenerateAccumulator:
    """Native events carry all so far, so that the last one is the answer, or (`incremental`) only what is new."""

    def __init__(self) -> None:
        self._last = GenerateResponse()
        self._texts: list[str] = []
        self._seen = 0  # characters
        self._ids: list[int] = []
        self._logprobs: dict[str, list[Any]] = {}

    def add(self, chunk: GenerateResponse) -> str:
        """Takes the next event; returns the text that came since the one before."""
        meta, ids = chunk.meta_info, chunk.output_ids
        is_delta = len(ids) < meta.completion_tokens == len(self._ids) + len(ids)
        text = chunk.text if is_delta else chunk.text[self._seen :]
        if not is_delta:
            self._texts, self._ids, self._logprobs = [], [], {}
        self._texts.append(chunk.text)
        self._seen = self._seen + len(text) if is_delta else len(chunk.text)
        self._ids += ids
        for name in _LOGPROB_LISTS:
            if (entries := getattr(meta, name)) is not None:
                self._logprobs.setdefault(name, []).extend(entries)
        self._last = chunk
        return text

    def result(self) -> GenerateResponse:
        """The answer so far: the last event, with all that came."""
        meta = self._last.meta_info.model_copy(update=self._logprobs)
        return self._last.model_copy(update={"text": "".join(self._texts), "output_ids": self._ids, "meta_info": meta})


def _take_head(completion: ModelT, chunk: ChatCompletionChunk | Completion) -> None:
    """What describes the whole answer: the first chunk's id, the last usage."""
    completion.id = completion.id or chunk.id
    completion.model = completion.model or chunk.model
    completion.created = completion.created or chunk.created
    completion.usage = chunk.usage or completion.usage
    _keep_extras(completion, chunk)


def _take_end(choice: ChatChoice | CompletionChoice, part: ChatChunkChoice | CompletionChoice) -> None:
    """What a choice's last chunk says: why it ended."""
    choice.finish_reason = part.finish_reason or choice.finish_reason
    if part.matched_stop is not None:
        choice.matched_stop = part.matched_stop
    _keep_extras(choice, part)


def _keep_extras(target: ServerModel, source: ServerModel) -> None:
    """Fields that the client does not know (`system_fingerprint`): the last value that is not null."""
    if source.model_extra and target.model_extra is not None:
        target.model_extra.update({name: value for name, value in source.model_extra.items() if value is not None})


def _add_tool_call(calls: dict[int, ToolCall], delta: ToolCallDelta) -> None:
    call = calls.setdefault(delta.index, ToolCall())
    call.id = delta.id or call.id
    call.type = delta.type or call.type
    if delta.function:
        call.function.name += delta.function.name or ""
        call.function.arguments += delta.function.arguments or ""


def _add_logprobs(total: CompletionLogprobs, part: CompletionLogprobs) -> None:
    total.tokens += part.tokens
    total.token_logprobs += part.token_logprobs
    total.text_offset += part.text_offset
    if part.top_logprobs is not None:
        total.top_logprobs = (total.top_logprobs or []) + part.top_logprobs


def _joined(pieces: list[str] | None) -> str | None:
    return None if pieces is None else "".join(pieces)
