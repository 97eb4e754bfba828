"""`client.chat`: one message and its answer in a line, and OpenAI's own `chat.completions.create`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, Literal, TypeVar, Unpack, overload

from sgl_jax.client._accumulate import ChatAccumulator
from sgl_jax.client._async_stream import AsyncStream
from sgl_jax.client._endpoint import Endpoint, Run, StreamKind, json_as
from sgl_jax.client._requests import Call
from sgl_jax.client._stream import Stream
from sgl_jax.client.types.chat import ChatCompletion, ChatCompletionChunk, ChatMessage
from sgl_jax.client.types.params import ChatParams, Messages

AnswerT = TypeVar("AnswerT")
StreamT = TypeVar("StreamT")


class ChatStream(Stream[ChatCompletionChunk, ChatCompletion]):
    """A streamed chat answer."""

    def get_final_message(self) -> ChatMessage:
        """Reads to the end; the assistant's whole message."""
        return self.get_final_response().message


class AsyncChatStream(AsyncStream[ChatCompletionChunk, ChatCompletion]):
    """A streamed chat answer, for the async client."""

    async def get_final_message(self) -> ChatMessage:
        """Reads to the end; the assistant's whole message."""
        return (await self.get_final_response()).message


CHAT = Endpoint(
    "POST",
    "/v1/chat/completions",
    parse=json_as(ChatCompletion),
    stream=StreamKind(ChatCompletionChunk, ChatAccumulator, ChatStream, AsyncChatStream),
)


class ChatCompletions(Generic[AnswerT, StreamT]):
    """`client.chat.completions`, as in the `openai` package."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @overload
    def create(
        self, *, messages: Messages, stream: Literal[False] = False, **params: Unpack[ChatParams]
    ) -> AnswerT: ...
    @overload
    def create(self, *, messages: Messages, stream: Literal[True], **params: Unpack[ChatParams]) -> StreamT: ...
    @overload
    def create(self, *, messages: Messages, stream: bool, **params: Unpack[ChatParams]) -> AnswerT | StreamT: ...
    def create(self, *, messages: Messages, stream: bool = False, **params: Unpack[ChatParams]) -> Any:
        """Answers a conversation: a `ChatCompletion`, or a `ChatStream` with `stream=True`.

        Raises the errors of `sgl_jax.client`, all of them `SglJaxClientError`s.
        """
        return self._run(_chat_call(messages, params, stream=stream))


class Chat(Generic[AnswerT, StreamT]):
    """`client.chat("Hello!")`, `client.chat.stream("Hello!")` and `client.chat.completions.create(...)`."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.completions: ChatCompletions[AnswerT, StreamT] = ChatCompletions(run)

    @overload
    def __call__(
        self, messages: Messages, *, stream: Literal[False] = False, **params: Unpack[ChatParams]
    ) -> AnswerT: ...
    @overload
    def __call__(self, messages: Messages, *, stream: Literal[True], **params: Unpack[ChatParams]) -> StreamT: ...
    @overload
    def __call__(self, messages: Messages, *, stream: bool, **params: Unpack[ChatParams]) -> AnswerT | StreamT: ...
    def __call__(self, messages: Messages, *, stream: bool = False, **params: Unpack[ChatParams]) -> Any:
        """Answers a conversation, or a string, which is one user message. Otherwise as `completions.create`."""
        return self._run(_chat_call(messages, params, stream=stream))

    def stream(self, messages: Messages, **params: Unpack[ChatParams]) -> StreamT:
        """Answers piece by piece; a context manager that closes the connection when it is left."""
        stream: StreamT = self._run(_chat_call(messages, params, stream=True))
        return stream


def _chat_call(messages: Messages, params: Mapping[str, Any], *, stream: bool) -> Call:
    conversation = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
    return CHAT.call({"messages": conversation}, params, stream=stream)
