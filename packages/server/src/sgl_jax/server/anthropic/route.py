"""`/v1/messages`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request, Response

from sgl_jax.server.anthropic.answer import PING, Writer, failed
from sgl_jax.server.anthropic.error_body import ROUTE, AnthropicErrorResponse
from sgl_jax.server.anthropic.message import MessageObject, TokenCount
from sgl_jax.server.anthropic.schema import CountTokensRequest, MessagesRequest
from sgl_jax.server.anthropic.to_chat import MESSAGES, shows_thinking, to_chat
from sgl_jax.server.body import BodyReader
from sgl_jax.server.context import ServerContext
from sgl_jax.server.disconnect import unless_disconnected
from sgl_jax.server.generation import Generation, Job
from sgl_jax.server.json_response import json_response
from sgl_jax.server.openai.to_engine import chat_job, chat_prompt
from sgl_jax.server.openapi import describe
from sgl_jax.server.sse import EventStream, named_event
from sgl_jax.server.transcript import transcribe

EXAMPLE: dict[str, Any] = {
    "model": "default",
    "max_tokens": 64,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
}
COUNT_EXAMPLE: dict[str, Any] = {
    "model": "default",
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
}


def messages_router(context: ServerContext) -> APIRouter:
    """The routes, bound to a server's parts."""
    router = APIRouter(tags=["Anthropic"])
    reader = BodyReader(MessagesRequest)
    count_reader = BodyReader(CountTokensRequest)

    async def events(writer: Writer, job: Job) -> AsyncGenerator[bytes]:
        async with Generation(context, job) as pieces:
            async for piece in pieces:
                if said := writer.follow(writer.transcript.add(piece)):
                    yield b"".join(map(named_event, said))
        yield b"".join(map(named_event, writer.end()))

    @router.post(
        ROUTE,
        operation_id="create_message",
        summary="Answer a conversation of messages",
        **describe(
            body=MessagesRequest, example=EXAMPLE, answer=MessageObject, streams=True, error=AnthropicErrorResponse
        ),
    )
    async def create_message(request: Request) -> Response:
        info = context.generating_info()
        body = await reader.read(request, context)
        with MESSAGES.spoken():
            job = await chat_job(to_chat(body), context, info, MESSAGES)
        writer = Writer(context, job, max_tokens=body.max_tokens, thinking=shows_thinking(body))
        if body.stream:
            return EventStream(
                events(writer, job), keep_alive=context.limits.keep_alive_seconds, ping=PING, failure=failed
            )
        await unless_disconnected(request.receive, transcribe(context, job, writer.transcript))
        return json_response(writer.message())

    @router.post(
        f"{ROUTE}/count_tokens",
        operation_id="count_message_tokens",
        summary="How many tokens a conversation is",
        **describe(body=CountTokensRequest, example=COUNT_EXAMPLE, answer=TokenCount, error=AnthropicErrorResponse),
    )
    async def count_tokens(request: Request) -> Response:
        context.ready_info()
        body = await count_reader.read(request, context)
        with MESSAGES.spoken():
            _, prompt = await chat_prompt(to_chat(body), context)
        return json_response(TokenCount(len(prompt.ids)))

    return router
