"""`POST /v1/rerank`: which documents answer a query best."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from sgl_jax.engine.messages import EmbeddingParams, EngineInfo
from sgl_jax.server.body import BodyReader
from sgl_jax.server.context import ServerContext
from sgl_jax.server.errors import bad_request
from sgl_jax.server.generation import Job
from sgl_jax.server.generation import Sequence as Finished
from sgl_jax.server.json_response import json_response
from sgl_jax.server.openapi import describe
from sgl_jax.server.search import judge
from sgl_jax.server.search.jobs import (
    check_inputs,
    check_lengths,
    check_repeated,
    cut_length,
    embedding_job,
    floats,
    label_job,
    label_logprobs,
    read_inputs,
    run_whole,
    usage_of,
)
from sgl_jax.server.search.schema import RerankAnswer, RerankRequest, RerankResult, TextDocument
from sgl_jax.server.search.score import among

EXAMPLE: dict[str, Any] = {
    "query": "What is the capital of France?",
    "documents": ["Bread is baked.", "Paris is the capital of France."],
    "top_n": 1,
}


def rerank_router(context: ServerContext) -> APIRouter:
    """The route, bound to a server's parts."""
    router = APIRouter(tags=["search"])
    reader = BodyReader(RerankRequest)
    described = describe(body=RerankRequest, example=EXAMPLE, answer=RerankAnswer)

    @router.post("/v1/rerank", operation_id="rerank", summary="Sort documents by relevance", **described)
    @router.post("/rerank", operation_id="rerank_short", summary="The same as /v1/rerank", **described)
    async def rerank(request: Request) -> Response:
        info = context.ready_info()
        body = await reader.read(request, context)
        context.check_model(body.model)
        texts = [document if isinstance(document, str) else document.text for document in body.documents]
        check_inputs(len(texts), context, "documents")
        job = await (_embedding_job if info.is_embedding else _judging_job)(body, texts, context, info)
        sequences = await run_whole(request, context, job)
        scores = _similarities(sequences) if info.is_embedding else _judgements(sequences)
        shown = body.return_documents is not False
        results = [
            RerankResult(index=index, relevance_score=score, document=TextDocument(texts[index]))
            if shown
            else RerankResult(index=index, relevance_score=score)
            for index, score in sorted(enumerate(scores), key=lambda pair: -pair[1])
        ]
        return json_response(
            RerankAnswer(id=job.id, model=context.served_model_name, usage=usage_of(job), results=results[: body.top_n])
        )

    return router


async def _embedding_job(body: RerankRequest, texts: list[str], context: ServerContext, info: EngineInfo) -> Job:
    """The query's vector, then the documents'."""
    cut = cut_length(body.truncate_prompt_tokens, info.max_model_len)
    query = body.query if body.instruct is None else judge.instructed_query(body.instruct, body.query)
    prompts = await read_inputs([query], context, info, "query")
    prompts += await read_inputs(texts, context, info, "documents", cut)
    check_lengths(prompts, info.max_model_len, "documents")
    return embedding_job("rerank", body, prompts, EmbeddingParams(), {"prompt": "documents"})


async def _judging_job(body: RerankRequest, texts: list[str], context: ServerContext, info: EngineInfo) -> Job:
    """The question whether each document answers the query, to a model that says yes or no."""
    labels = judge.labels(context.tokenizer)
    if labels is None:
        raise bad_request(
            f"{context.served_model_name!r} cannot rerank: it is neither an embedding model (--is-embedding) nor one "
            "like Qwen3-Reranker, which is asked in ChatML and answers with the token yes or no.",
            "model",
        )
    check_repeated(len(body.query) + len(body.instruct or ""), len(texts), context, "documents")
    longest = info.max_model_len - 1
    cut = cut_length(body.truncate_prompt_tokens, longest)
    prompts = await judge.questions(context.tokenizer, body.query, texts, body.instruct, cut)
    check_lengths(prompts, longest, "documents")
    return label_job("rerank", body, prompts, labels, "documents")


def _similarities(sequences: Sequence[Finished]) -> list[float]:
    query, *documents = (floats(sequence.embedding) for sequence in sequences)
    return [_cosine(query, document) for document in documents]


def _judgements(sequences: Sequence[Finished]) -> list[float]:
    return [among(label_logprobs(sequence))[0] for sequence in sequences]


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    lengths = math.hypot(*one) * math.hypot(*other)
    return sum(map(operator.mul, one, other)) / lengths if lengths else 0.0
