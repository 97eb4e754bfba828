"""`POST /v1/score`: how likely a few tokens are to follow a text, SGLang's way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from sgl_jax.engine.sampling_params import MAX_CHOSEN_LOGPROBS
from sgl_jax.server.body import BodyReader
from sgl_jax.server.context import ServerContext
from sgl_jax.server.errors import bad_request
from sgl_jax.server.json_response import json_response
from sgl_jax.server.openapi import describe
from sgl_jax.server.prompts import check_ids
from sgl_jax.server.search.jobs import (
    check_inputs,
    check_lengths,
    check_repeated,
    label_job,
    label_logprobs,
    read_inputs,
    run_whole,
    usage_of,
)
from sgl_jax.server.search.schema import ScoreAnswer, ScoreRequest

EXAMPLE: dict[str, Any] = {
    "query": "Is this a city? ",
    "items": ["Paris", "Bread"],
    "label_token_ids": [3, 5],
    "apply_softmax": True,
}


def score_router(context: ServerContext) -> APIRouter:
    """The route, bound to a server's parts."""
    router = APIRouter(tags=["search"])
    reader = BodyReader(ScoreRequest)

    @router.post(
        "/v1/score",
        operation_id="score",
        summary="Probabilities of label tokens",
        **describe(body=ScoreRequest, example=EXAMPLE, answer=ScoreAnswer),
    )
    async def score(request: Request) -> Response:
        info = context.generating_info()
        body = await reader.read(request, context)
        context.check_model(body.model)
        if len(body.label_token_ids) > MAX_CHOSEN_LOGPROBS:
            raise bad_request(f"label_token_ids must hold at most {MAX_CHOSEN_LOGPROBS} token ids.", "label_token_ids")
        check_ids(body.label_token_ids, info.vocab_size, "label_token_ids")
        count = 1 if isinstance(body.items, str) else len(body.items)
        check_inputs(count, context, "items")
        check_repeated(len(body.query), count, context, "items")
        prompts = await read_inputs(_joined(body), context, info, "items")
        check_lengths(prompts, info.max_model_len - 1, "items")
        job = label_job("score", body, prompts, body.label_token_ids, "label_token_ids")
        sequences = await run_whole(request, context, job)
        turn = among if body.apply_softmax else _of_all
        scores = [turn(label_logprobs(sequence)) for sequence in sequences]
        return json_response(ScoreAnswer(scores=scores, model=context.served_model_name, usage=usage_of(job)))

    return router


def among(logprobs: Sequence[float]) -> list[float]:
    """Probabilities among the given ones only: they add up to 1."""
    most = max(logprobs)
    weights = [math.exp(logprob - most) if logprob > -math.inf else 0.0 for logprob in logprobs]
    total = sum(weights)
    return [weight / total if total else 1 / len(weights) for weight in weights]


def _of_all(logprobs: Sequence[float]) -> list[float]:
    return [math.exp(logprob) for logprob in logprobs]


def _joined(body: ScoreRequest) -> list[str | int | list[int]]:
    """The query and each item, in their order."""
    query = body.query
    items = [body.items] if isinstance(body.items, str) else body.items
    joined: list[str | int | list[int]] = []
    for item in items:
        first, second = (item, query) if body.item_first else (query, item)
        if isinstance(first, str) and isinstance(second, str):
            joined.append(first + second)
        elif isinstance(first, list) and isinstance(second, list):
            joined.append([*first, *second])
        else:
            raise bad_request("query and items must both be texts, or both token ids.", "items")
    return joined
