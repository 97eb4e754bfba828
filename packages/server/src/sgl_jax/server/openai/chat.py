"""`POST /v1/chat/completions`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from sgl_jax.server.body import BodyReader
from sgl_jax.server.context import ServerContext
from sgl_jax.server.disconnect import unless_disconnected
from sgl_jax.server.generation import collect
from sgl_jax.server.json_response import json_response
from sgl_jax.server.openai.from_engine import chat_completion, chat_events
from sgl_jax.server.openai.schema.chat import ChatCompletion, ChatRequest
from sgl_jax.server.openai.schema.common import StreamOptions
from sgl_jax.server.openai.to_engine import chat_job
from sgl_jax.server.openapi import describe
from sgl_jax.server.sse import EventStream

EXAMPLE: dict[str, Any] = {
    "model": "default",
    "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is the capital of France?"},
    ],
    "max_tokens": 64,
    "temperature": 0.7,
    "stream": False,
}


def chat_router(context: ServerContext) -> APIRouter:
    """The route, bound to a server's parts."""
    router = APIRouter(tags=["OpenAI"])
    reader = BodyReader(ChatRequest)

    @router.post(
        "/v1/chat/completions",
        operation_id="chat_completions",
        summary="Answer a conversation",
        **describe(body=ChatRequest, example=EXAMPLE, answer=ChatCompletion, streams=True),
    )
    async def chat_completions(request: Request) -> Response:
        info = context.generating_info()
        body = await reader.read(request, context)
        job = await chat_job(body, context, info)
        logprobs = bool(body.logprobs)
        if body.stream:
            events = chat_events(context, job, body.stream_options or StreamOptions(), logprobs=logprobs)
            return EventStream(events, keep_alive=context.limits.keep_alive_seconds)
        sequences = await unless_disconnected(request.receive, collect(context, job))
        return json_response(
            chat_completion(context, job, sequences, logprobs=logprobs, of_prompt=body.prompt_logprobs)
        )

    return router
