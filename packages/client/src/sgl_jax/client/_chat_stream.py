"""Streamed chat answers: as text, and as text of which an object is made at the end."""

from __future__ import annotations

from typing import Generic, TypeVar, cast

from sgl_jax.client._async_stream import AsyncStream
from sgl_jax.client._stream import Stream
from sgl_jax.client.types.chat import ChatCompletion, ChatCompletionChunk, ChatMessage
from sgl_jax.client.types.parsed import ParsedChatCompletion

ParsedT = TypeVar("ParsedT")


class ChatStream(Stream[ChatCompletionChunk, ChatCompletion]):
    """A streamed chat answer."""

    def get_final_message(self) -> ChatMessage:
        """Reads to the end; the assistant's whole message."""
        return self.get_final_response().message

    def get_final_completion(self) -> ChatCompletion:
        """`get_final_response` under its name in the `openai` package."""
        return self.get_final_response()


class AsyncChatStream(AsyncStream[ChatCompletionChunk, ChatCompletion]):
    """A streamed chat answer, for the async client."""

    async def get_final_message(self) -> ChatMessage:
        """Reads to the end; the assistant's whole message."""
        return (await self.get_final_response()).message

    async def get_final_completion(self) -> ChatCompletion:
        """`get_final_response` under its name in the `openai` package."""
        return await self.get_final_response()


class ParsedChatStream(ChatStream, Generic[ParsedT]):
    """A streamed chat answer that fits a type. The text comes as it is written, the object at the end.

    What reads to the end raises `TruncatedAnswerError`, `RefusedAnswerError` and `UnfitAnswerError`, too.
    """

    def get_final_response(self) -> ParsedChatCompletion[ParsedT]:
        """Reads to the end; the answer as `client.chat.parse` would have given it."""
        return cast("ParsedChatCompletion[ParsedT]", super().get_final_response())

    def get_final_completion(self) -> ParsedChatCompletion[ParsedT]:
        """`get_final_response` under its name in the `openai` package."""
        return self.get_final_response()

    def get_final_parsed(self) -> ParsedT:
        """Reads to the end; the object."""
        return self.get_final_response().parsed


class AsyncParsedChatStream(AsyncChatStream, Generic[ParsedT]):
    """A streamed chat answer that fits a type, for the async client; as `ParsedChatStream`."""

    async def get_final_response(self) -> ParsedChatCompletion[ParsedT]:
        """Reads to the end; the answer as `client.chat.parse` would have given it."""
        return cast("ParsedChatCompletion[ParsedT]", await super().get_final_response())

    async def get_final_completion(self) -> ParsedChatCompletion[ParsedT]:
        """`get_final_response` under its name in the `openai` package."""
        return await self.get_final_response()

    async def get_final_parsed(self) -> ParsedT:
        """Reads to the end; the object."""
        return (await self.get_final_response()).parsed
