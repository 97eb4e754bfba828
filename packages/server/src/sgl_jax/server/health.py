"""Liveness and readiness. None of these routes waits for the engine, except `/health_generate`, and that briefly."""

from __future__ import annotations

import asyncio
import uuid

import msgspec
from fastapi import APIRouter, Request, Response

from sgl_jax.engine.errors import EngineDeadError
from sgl_jax.engine.messages import EmbeddingParams, EngineInfo, GenerateRequest
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.server.context import ServerContext
from sgl_jax.server.disconnect import unless_disconnected
from sgl_jax.server.errors import unavailable
from sgl_jax.server.generation import Job, Prompt, collect
from sgl_jax.server.json_response import json_response
from sgl_jax.server.openapi import describe


class Health(msgspec.Struct, frozen=True):
    """`status` is `ok`, `starting` or `dead`; `phase` says how far the engine has come (`compiling 3/12`)."""

    status: str
    phase: str


def health_router(context: ServerContext) -> APIRouter:
    """The routes, bound to a server's parts. Monitors ask by HEAD as well."""
    router = APIRouter(tags=["health"])

    @router.head("/health", include_in_schema=False)
    @router.get("/health", operation_id="health", summary="Is the server up?", **describe(answer=Health))
    async def health() -> Response:
        report = _health(context)
        return json_response(report, 503 if report.status == "dead" else 200)

    @router.head("/readyz", include_in_schema=False)
    @router.get("/readyz", operation_id="readyz", summary="Are requests welcome?", **describe(answer=Health))
    async def readyz() -> Response:
        context.ready_info()
        return json_response(_health(context))

    @router.head("/ping", include_in_schema=False)
    @router.get("/ping", operation_id="ping", summary="Are requests welcome?", **describe(answer=Health))
    async def ping() -> Response:
        context.ready_info()
        return json_response(_health(context))

    @router.get(
        "/health_generate",
        operation_id="health_generate",
        summary="Does a token really come out?",
        **describe(answer=Health),
    )
    async def health_generate(request: Request) -> Response:
        info = context.ready_info()
        await unless_disconnected(request.receive, _generate_one(context, info))
        return json_response(_health(context))

    return router


def _health(context: ServerContext) -> Health:
    phase = context.phase()
    if phase.name not in ("ready", "dead"):
        return Health("starting", str(phase))
    try:
        context.engine.info()
    except EngineDeadError:
        return Health("dead", "dead")
    return Health("ok" if phase.name == "ready" else "dead", str(phase))


async def _generate_one(context: ServerContext, info: EngineInfo) -> None:
    """Returns once the engine has produced a token (or an embedding, if that is what it makes): ours, or anyone's.

    Raises:
        ApiError: 503 when nothing came in time.
    """
    prompt = Prompt(info.eos_token_ids[:1] or [0])
    job_id = f"health-{uuid.uuid4().hex}"
    if info.is_embedding:
        probe = GenerateRequest(request_id=job_id, prompt_ids=prompt.ids, embedding=EmbeddingParams())
    else:
        sampling = SamplingParams(max_new_tokens=1, temperature=0.0, ignore_eos=True)
        probe = GenerateRequest(request_id=job_id, prompt_ids=prompt.ids, sampling=sampling)
    job = Job(
        id=job_id,
        requests=[probe],
        prompts=[prompt],
        is_probe=True,
    )
    before = await _tokens_so_far(context)
    try:
        async with asyncio.timeout(context.limits.health_seconds):
            (sequence,) = await collect(context, job)
    except TimeoutError:
        if before is not None and (after := await _tokens_so_far(context)) is not None and after > before:
            return
        raise unavailable(f"No token came out within {context.limits.health_seconds:g} seconds.") from None
    if not sequence.token_ids and not sequence.embedding:
        raise unavailable("The engine ended the probe without a token.")


async def _tokens_so_far(context: ServerContext) -> int | None:
    """Tokens generated and sequences finished since start-up, or None when the engine does not even answer that."""
    try:
        async with asyncio.timeout(1.0):
            reply = await context.engine.control("stats")
    except TimeoutError:
        return None
    return None if reply.stats is None else reply.stats.generated_tokens_total + reply.stats.finished_total
