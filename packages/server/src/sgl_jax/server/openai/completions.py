"""`POST /v1/completions`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from sgl_jax.server.body import BodyReader
from sgl_jax.server.context import ServerContext
from sgl_jax.server.disconnect import unless_disconnected
from sgl_jax.server.generation import collect
from sgl_jax.server.json_response import json_response
from sgl_jax.server.openai.from_engine import completion, completion_events
from sgl_jax.server.openai.schema.common import StreamOptions
from sgl_jax.server.openai.schema.completions import Completion, CompletionRequest
from sgl_jax.server.openai.to_engine import completion_job
from sgl_jax.server.openapi import describe
from sgl_jax.server.sse import EventStream

EXAMPLE: dict[str, Any] = {
    "model": "default",
    "prompt": "The capital of France is",
    "max_tokens": 16,
    "temperature": 0,
}


def completions_router(context: ServerContext) -> APIRouter:
    """The route, bound to a server's parts."""
    router = APIRouter(tags=["OpenAI"])
    reader = BodyReader(CompletionRequest)

    @router.post(
        "/v1/completions",
        operation_id="completions",
        summary="Continue texts",
        **describe(body=CompletionRequest, example=EXAMPLE, answer=Completion, streams=True),
    )
    async def completions(request: Request) -> Response:
        info = context.generating_info()
        body = await reader.read(request, context)
        job = await completion_job(body, context, info)
        echo, logprobs = bool(body.echo), body.logprobs is not None
        if body.stream:
            options = body.stream_options or StreamOptions()
            events = completion_events(context, job, options, echo=echo, logprobs=logprobs)
            return EventStream(events, keep_alive=context.limits.keep_alive_seconds)
        sequences = await unless_disconnected(request.receive, collect(context, job))
        kept = body.n or 1
        return json_response(
            completion(
                context,
                job,
                sequences,
                echo=echo,
                logprobs=logprobs,
                of_prompt=body.prompt_logprobs,
                kept=kept if job.n > kept else None,
            )
        )

    return router
