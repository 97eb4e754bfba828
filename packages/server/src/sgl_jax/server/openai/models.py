"""`GET /v1/models` and `GET /v1/models/{id}`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from sgl_jax.server.context import ServerContext
from sgl_jax.server.json_response import json_response
from sgl_jax.server.openai.schema.models import ModelCard, ModelList
from sgl_jax.server.openapi import describe


def models_router(context: ServerContext) -> APIRouter:
    """The routes, bound to a server's parts. They answer before the engine is ready, too."""
    router = APIRouter(tags=["OpenAI"])

    def card() -> ModelCard:
        ready = context.phase().name == "ready"
        return ModelCard(
            id=context.served_model_name,
            created=context.created,
            root=context.served_model_name,
            max_model_len=context.engine.info().max_model_len if ready else None,
        )

    @router.get(
        "/v1/models", operation_id="list_models", summary="List the served models", **describe(answer=ModelList)
    )
    async def list_models() -> Response:
        return json_response(ModelList(data=[card()]))

    # A path, because model names have slashes in them.
    @router.get(
        "/v1/models/{model_id:path}",
        operation_id="get_model",
        summary="Describe one model",
        **describe(answer=ModelCard, path_params={"model_id": "A served model's name."}),
    )
    async def get_model(request: Request) -> Response:
        context.check_model(request.path_params["model_id"])
        return json_response(card())

    return router
