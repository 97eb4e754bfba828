"""`POST /generate` (and `PUT`) and `POST /abort_request`."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request, Response

from sgl_jax.server.body import BodyReader
from sgl_jax.server.context import ServerContext
from sgl_jax.server.disconnect import unless_disconnected
from sgl_jax.server.errors import bad_request
from sgl_jax.server.generation import collect
from sgl_jax.server.json_response import json_response
from sgl_jax.server.native.from_engine import NativeWriter, native_answers, native_events
from sgl_jax.server.native.schema import AbortBody, Aborted, NativeAnswer, NativeRequest, NativeSamplingParams
from sgl_jax.server.native.to_engine import is_batch, native_job
from sgl_jax.server.openapi import describe
from sgl_jax.server.sse import EventStream

EXAMPLE: dict[str, Any] = {
    "text": "The capital of France is",
    "sampling_params": {"max_new_tokens": 16, "temperature": 0},
}


def generate_router(context: ServerContext) -> APIRouter:
    """The routes, bound to a server's parts."""
    router = APIRouter(tags=["native"])
    reader = BodyReader(NativeRequest, nested=NativeSamplingParams)
    abort_reader = BodyReader(AbortBody)
    described = describe(body=NativeRequest, example=EXAMPLE, answer=NativeAnswer, batches=True, streams=True)

    @router.post("/generate", operation_id="generate", summary="Continue prompts, SGLang's way", **described)
    @router.put("/generate", operation_id="generate_put", summary="The same as POST", **described)
    async def generate(request: Request) -> Response:
        started = time.perf_counter()
        info = context.generating_info()
        body = await reader.read(request, context)
        job = await native_job(body, context, info)
        batch = is_batch(body, job)
        writer = NativeWriter(context, job, body.rid, with_text=bool(body.return_text_in_logprobs), started=started)
        if body.stream:
            incremental = context.incremental_stream if body.incremental is None else body.incremental
            events = native_events(context, job, writer, batch=batch, incremental=incremental)
            return EventStream(events, keep_alive=context.limits.keep_alive_seconds)
        sequences = await unless_disconnected(request.receive, collect(context, job))
        return json_response(native_answers(writer, sequences, batch=batch))

    @router.post(
        "/abort_request",
        operation_id="abort_request",
        summary="End running requests",
        **describe(body=AbortBody, example={"rid": "my-request"}, answer=Aborted),
    )
    async def abort_request(request: Request) -> Response:
        body = await abort_reader.read(request, context)
        if not body.abort_all and not body.rid:
            raise bad_request("Send a rid, or abort_all: true.", "rid")
        found = context.live.all() if body.abort_all else context.live.find(body.rid or "")
        await context.engine.abort(found)
        return json_response(Aborted(len(found)))

    return router
