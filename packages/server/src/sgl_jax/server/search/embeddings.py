"""`POST /v1/embeddings`."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any, cast

import msgspec
from fastapi import APIRouter, Request, Response

from sgl_jax.engine.messages import EmbeddingParams
from sgl_jax.server.body import BodyReader
from sgl_jax.server.context import ServerContext
from sgl_jax.server.errors import bad_request
from sgl_jax.server.json_response import json_response
from sgl_jax.server.openapi import describe
from sgl_jax.server.search.jobs import (
    check_lengths,
    cut_length,
    embedding_job,
    floats,
    read_inputs,
    run_whole,
    usage_of,
)
from sgl_jax.server.search.schema import EmbeddingList, EmbeddingObject, EmbeddingRequest

_ENCODER = msgspec.json.Encoder()
EXAMPLE: dict[str, Any] = {"model": "default", "input": ["The capital of France is Paris.", "Bread is baked."]}


def embeddings_router(context: ServerContext) -> APIRouter:
    """The route, bound to a server's parts."""
    router = APIRouter(tags=["OpenAI"])
    reader = BodyReader(EmbeddingRequest)

    @router.post(
        "/v1/embeddings",
        operation_id="embeddings",
        summary="Texts as vectors",
        **describe(body=EmbeddingRequest, example=EXAMPLE, answer=EmbeddingList),
    )
    async def embeddings(request: Request) -> Response:
        info = context.ready_info()
        body = await reader.read(request, context)
        context.check_model(body.model)
        if not info.is_embedding:
            raise bad_request(
                f"{context.served_model_name!r} is served to generate text; start the server with --is-embedding for "
                "embeddings.",
                "model",
            )
        if body.dimensions is not None and body.dimensions > info.hidden_size:
            raise bad_request(f"dimensions must be at most {info.hidden_size}, got {body.dimensions}.", "dimensions")
        cut = cut_length(body.truncate_prompt_tokens, info.max_model_len)
        prompts = await read_inputs(body.input, context, info, "input", cut)
        check_lengths(prompts, info.max_model_len, "input")
        job = embedding_job("embd", body, prompts, EmbeddingParams(dimensions=body.dimensions), {"prompt": "input"})
        sequences = await run_whole(request, context, job)
        data = await _written([sequence.embedding for sequence in sequences], body.encoding_format)
        return json_response(EmbeddingList(data=data, model=context.served_model_name, usage=usage_of(job)))

    return router


async def _written(embeddings: Sequence[bytes], encoding_format: str | None) -> list[EmbeddingObject]:
    """The answer's entries as JSON. One by one: millions of numbers at once would hold up every other stream."""
    written = []
    for index, embedding in enumerate(embeddings):
        item = EmbeddingObject(index=index, embedding=_spelled(embedding, encoding_format))
        written.append(msgspec.Raw(_ENCODER.encode(item)))
        await asyncio.sleep(0)
    return cast("list[EmbeddingObject]", written)


def _spelled(embedding: bytes, encoding_format: str | None) -> list[float] | str:
    if encoding_format == "base64":
        return base64.b64encode(embedding).decode()
    return floats(embedding).tolist()
