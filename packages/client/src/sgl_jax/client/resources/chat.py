"""`client.chat`: one message and its answer in a line, answers as Python objects, tools, and OpenAI's own names.

What `parse` and `run_tools` return depends on the client *and* on the call, which no type parameter of a class can
say. So their overloads are told apart by what `self` is; the method is one.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, Literal, TypeAlias, TypeVar, Unpack, overload

from sgl_jax.client._accumulate import ChatAccumulator
from sgl_jax.client._answer_types import answer_format, finisher_of, parser_of
from sgl_jax.client._async_stream import PendingStream
from sgl_jax.client._chat_stream import AsyncChatStream, AsyncParsedChatStream, ChatStream, ParsedChatStream
from sgl_jax.client._conversation import conversation
from sgl_jax.client._endpoint import Endpoint, Play, Run, StreamKind, json_as
from sgl_jax.client._requests import Call
from sgl_jax.client._tool_loop import tool_loop
from sgl_jax.client.tools import Tool
from sgl_jax.client.types.chat import ChatCompletion, ChatCompletionChunk
from sgl_jax.client.types.params import ChatParams, MessageParam, Messages, ParseParams, RunToolsParams
from sgl_jax.client.types.parsed import ParsedChatCompletion
from sgl_jax.client.types.tool_run import ToolRun

T = TypeVar("T")
AnswerT = TypeVar("AnswerT")
StreamT = TypeVar("StreamT")
Awaited: TypeAlias = Coroutine[Any, Any, T]


STREAM = StreamKind(ChatCompletionChunk, ChatAccumulator, ChatStream, AsyncChatStream)
PARSED_STREAM = replace(STREAM, sync=ParsedChatStream, asynchronous=AsyncParsedChatStream)
CHAT = Endpoint("POST", "/v1/chat/completions", parse=json_as(ChatCompletion), stream=STREAM)


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

    @overload
    def parse(
        self: ChatCompletions[ChatCompletion, Any],
        *,
        messages: Messages,
        response_format: type[T],
        **params: Unpack[ParseParams],
    ) -> ParsedChatCompletion[T]: ...
    @overload
    def parse(
        self: ChatCompletions[Awaited[ChatCompletion], Any],
        *,
        messages: Messages,
        response_format: type[T],
        **params: Unpack[ParseParams],
    ) -> Awaited[ParsedChatCompletion[T]]: ...
    def parse(self, *, messages: Messages, response_format: Any, **params: Unpack[ParseParams]) -> Any:
        """As `client.chat.parse`, with the arguments' names in the `openai` package."""
        return self._run(_parsed_call(messages, response_format, params))

    @overload
    def stream(self, *, messages: Messages, **params: Unpack[ChatParams]) -> StreamT: ...
    @overload
    def stream(
        self: ChatCompletions[ChatCompletion, Any],
        *,
        messages: Messages,
        response_format: type[T],
        **params: Unpack[ParseParams],
    ) -> ParsedChatStream[T]: ...
    @overload
    def stream(
        self: ChatCompletions[Awaited[ChatCompletion], Any],
        *,
        messages: Messages,
        response_format: type[T],
        **params: Unpack[ParseParams],
    ) -> PendingStream[AsyncParsedChatStream[T]]: ...
    def stream(self, *, messages: Messages, response_format: Any = None, **params: Any) -> Any:
        """As `client.chat.stream`, with the arguments' names in the `openai` package."""
        if response_format is None or isinstance(response_format, Mapping):
            return self._run(_stream_call(messages, None, {"response_format": response_format, **params}))
        return self._run(_stream_call(messages, response_format, params))


class Chat(Generic[AnswerT, StreamT]):
    """`client.chat("Hello!")`, and `stream`, `parse`, `run_tools` and `completions` of it."""

    def __init__(self, run: Run, play: Play) -> None:
        self._run = run
        self._play = play
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

    @overload
    def stream(self, messages: Messages, answer: None = None, **params: Unpack[ChatParams]) -> StreamT: ...
    @overload
    def stream(
        self: Chat[ChatCompletion, Any], messages: Messages, answer: type[T], **params: Unpack[ParseParams]
    ) -> ParsedChatStream[T]: ...
    @overload
    def stream(
        self: Chat[Awaited[ChatCompletion], Any], messages: Messages, answer: type[T], **params: Unpack[ParseParams]
    ) -> PendingStream[AsyncParsedChatStream[T]]: ...
    def stream(self, messages: Messages, answer: Any = None, **params: Any) -> Any:
        """Answers piece by piece; a context manager that closes the connection when it is left.

        Token counts come at the end, unless `stream_options` says otherwise.

        Args:
            messages: as for `client.chat`.
            answer: a type that the answer fits, as for `parse`; `get_final_parsed()` of the stream is an object of it.
            params: as for `client.chat`.
        """
        return self._run(_stream_call(messages, answer, params))

    @overload
    def parse(
        self: Chat[ChatCompletion, Any], messages: Messages, answer: type[T], **params: Unpack[ParseParams]
    ) -> ParsedChatCompletion[T]: ...
    @overload
    def parse(
        self: Chat[Awaited[ChatCompletion], Any], messages: Messages, answer: type[T], **params: Unpack[ParseParams]
    ) -> Awaited[ParsedChatCompletion[T]]: ...
    def parse(self, messages: Messages, answer: Any, **params: Unpack[ParseParams]) -> Any:
        """Answers with JSON that fits a type, and makes an object of it: `.parsed`.

        The server is given the type's JSON schema and holds the model to it. Defaults are the model's to fill in.

        Args:
            messages: as for `client.chat`.
            answer: a pydantic model, or any other type that pydantic knows: dataclasses, `list[int]`.
            params: as for `client.chat`, but for those that give the answer's form.

        Raises `TruncatedAnswerError`, `RefusedAnswerError`, `UnfitAnswerError`, and what `client.chat` raises.
        """
        return self._run(_parsed_call(messages, answer, params))

    @overload
    def run_tools(
        self: Chat[ChatCompletion, Any],
        messages: Messages,
        *,
        tools: Sequence[Callable[..., Any] | Tool],
        max_turns: int = 10,
        **params: Unpack[RunToolsParams],
    ) -> ToolRun: ...
    @overload
    def run_tools(
        self: Chat[Awaited[ChatCompletion], Any],
        messages: Messages,
        *,
        tools: Sequence[Callable[..., Any] | Tool],
        max_turns: int = 10,
        **params: Unpack[RunToolsParams],
    ) -> Awaited[ToolRun]: ...
    def run_tools(
        self,
        messages: Messages,
        *,
        tools: Sequence[Callable[..., Any] | Tool],
        max_turns: int = 10,
        **params: Unpack[RunToolsParams],
    ) -> Any:
        """Answers with the help of Python functions: calls those that the model wants, until it wants none.

        The sync client calls one after another. The async one calls them side by side, and awaits what can be awaited.

        Args:
            messages: as for `client.chat`.
            tools: functions whose parameters have types (see `Tool.of`), or `Tool`s.
            max_turns: how many answers of the model there may be.
            params: as for `client.chat`. A `tool_choice` that demands a call demands the first one only.

        Raises `TypeError` and `ValueError` for tools and limits that cannot be used, `ToolLimitError`, what a tool
        raises (but a `ToolError` is told to the model), and what `client.chat` raises.
        """
        if max_turns < 1:
            raise ValueError(f"max_turns must be at least 1, got {max_turns}.")
        described = [tool if isinstance(tool, Tool) else Tool.of(tool) for tool in tools]
        names = [tool.name for tool in described]
        if len(set(names)) < len(names):
            raise ValueError(f"Tools need different names, got {', '.join(names)}.")
        return self._play(
            lambda options: tool_loop(
                conversation(messages), described, ask=_ask, params=params, max_turns=max_turns, options=options
            )
        )


def _chat_call(messages: Messages, params: Mapping[str, Any], *, stream: bool) -> Call:
    return CHAT.call({"messages": conversation(messages)}, params, stream=stream)


def _stream_call(messages: Messages, answer: Any, params: Mapping[str, Any]) -> Call:
    counted = {"stream_options": {"include_usage": True}, **params}
    if answer is None:
        return _chat_call(messages, counted, stream=True)
    call = _chat_call(messages, {**counted, "response_format": answer_format(answer)}, stream=True)
    return replace(call, stream=replace(PARSED_STREAM, finish=finisher_of(answer)))


def _ask(messages: list[MessageParam], params: Mapping[str, Any]) -> Call:
    return _chat_call(messages, params, stream=False)


def _parsed_call(messages: Messages, answer: Any, params: Mapping[str, Any]) -> Call:
    call = _chat_call(messages, {**params, "response_format": answer_format(answer)}, stream=False)
    return replace(call, parse=parser_of(answer))
