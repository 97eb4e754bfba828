"""`client.completions`: text that continues a prompt, as in the `openai` package."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar, Unpack, overload

from sgl_jax.client._accumulate import CompletionAccumulator
from sgl_jax.client._async_stream import AsyncStream
from sgl_jax.client._endpoint import Endpoint, Run, StreamKind, json_as
from sgl_jax.client._stream import Stream
from sgl_jax.client.types.completion import Completion
from sgl_jax.client.types.params import CompletionParams, Prompt

AnswerT = TypeVar("AnswerT")
StreamT = TypeVar("StreamT")

CompletionStream = Stream[Completion, Completion]
AsyncCompletionStream = AsyncStream[Completion, Completion]

COMPLETIONS = Endpoint(
    "POST",
    "/v1/completions",
    parse=json_as(Completion),
    stream=StreamKind(Completion, CompletionAccumulator, Stream, AsyncStream),
)


class Completions(Generic[AnswerT, StreamT]):
    """`client.completions.create(prompt=...)`."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @overload
    def create(
        self, *, prompt: Prompt, stream: Literal[False] = False, **params: Unpack[CompletionParams]
    ) -> AnswerT: ...
    @overload
    def create(self, *, prompt: Prompt, stream: Literal[True], **params: Unpack[CompletionParams]) -> StreamT: ...
    @overload
    def create(self, *, prompt: Prompt, stream: bool, **params: Unpack[CompletionParams]) -> AnswerT | StreamT: ...
    def create(self, *, prompt: Prompt, stream: bool = False, **params: Unpack[CompletionParams]) -> Any:
        """Continues a prompt, or each of a batch: a `Completion`, or a stream of them with `stream=True`.

        Raises the errors of `sgl_jax.client`, all of them `SglJaxClientError`s.
        """
        return self._run(COMPLETIONS.call({"prompt": prompt}, params, stream=stream))
