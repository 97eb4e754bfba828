"""The web application: routes, errors and OpenAPI around one engine."""

from __future__ import annotations

from fastapi import FastAPI

from sgl_jax.server.context import ServerContext
from sgl_jax.server.disconnect import ClientGoneError, on_client_gone
from sgl_jax.server.errors import install_error_handlers
from sgl_jax.server.health import Health, health_router
from sgl_jax.server.native.admin import Flushed, admin_router
from sgl_jax.server.native.generate import generate_router
from sgl_jax.server.native.schema import AbortBody, Aborted, NativeAnswer, NativeRequest
from sgl_jax.server.openai.chat import chat_router
from sgl_jax.server.openai.completions import completions_router
from sgl_jax.server.openai.models import models_router
from sgl_jax.server.openai.schema.chat import ChatChunk, ChatCompletion, ChatRequest
from sgl_jax.server.openai.schema.completions import Completion, CompletionRequest
from sgl_jax.server.openai.schema.models import ModelCard, ModelList
from sgl_jax.server.openapi import install_openapi
from sgl_jax.server.request_id import RequestIdMiddleware
from sgl_jax.server.server_info import VERSION, ModelInfo, ServerInfo, VersionInfo, info_router
from sgl_jax.server.tokenization import (
    DetokenizeAnswer,
    DetokenizeRequest,
    TokenizeAnswer,
    TokenizeRequest,
    tokenization_router,
)

ROUTERS = (
    chat_router,
    completions_router,
    models_router,
    generate_router,
    admin_router,
    tokenization_router,
    health_router,
    info_router,
)
STRUCTS = (
    ChatRequest,
    ChatCompletion,
    ChatChunk,
    CompletionRequest,
    Completion,
    ModelCard,
    ModelList,
    NativeRequest,
    NativeAnswer,
    AbortBody,
    Aborted,
    Flushed,
    TokenizeRequest,
    TokenizeAnswer,
    DetokenizeRequest,
    DetokenizeAnswer,
    Health,
    ModelInfo,
    ServerInfo,
    VersionInfo,
)


def create_app(context: ServerContext) -> FastAPI:
    """The ASGI application. It answers at once; generating routes say 503 until the engine is ready.

    It neither starts nor ends the engine: whoever made the context does.
    """
    app = FastAPI(
        title="SGL-JAX",
        version=VERSION,
        description="OpenAI-compatible and SGLang-native inference on JAX.",
        redirect_slashes=False,
    )
    app.add_middleware(RequestIdMiddleware)
    install_error_handlers(app)
    app.add_exception_handler(ClientGoneError, on_client_gone)
    for router in ROUTERS:
        app.include_router(router(context))
    install_openapi(app, STRUCTS)
    return app
