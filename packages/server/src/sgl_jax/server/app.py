"""The web application: routes, errors and OpenAPI around one engine."""

from __future__ import annotations

import msgspec
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware.cors import CORSMiddleware

from sgl_jax.server.access import PROBES, AccessMiddleware
from sgl_jax.server.anthropic.error_body import AnthropicErrorResponse
from sgl_jax.server.anthropic.message import MessageObject, TokenCount
from sgl_jax.server.anthropic.route import messages_router
from sgl_jax.server.anthropic.schema import CountTokensRequest, MessagesRequest
from sgl_jax.server.auth import AuthMiddleware, Keys
from sgl_jax.server.context import ServerContext
from sgl_jax.server.disconnect import ClientGoneError, on_client_gone
from sgl_jax.server.errors import install_error_handlers
from sgl_jax.server.health import Health, health_router
from sgl_jax.server.metrics.route import metrics_router
from sgl_jax.server.native.admin import Done, PauseBody, ProfileBody, admin_router
from sgl_jax.server.native.generate import generate_router
from sgl_jax.server.native.parsing import (
    FunctionCallBody,
    ParsedFunctionCalls,
    ReasoningBody,
    SeparatedReasoning,
    parsing_router,
)
from sgl_jax.server.native.schema import AbortBody, Aborted, NativeAnswer, NativeRequest
from sgl_jax.server.openai.chat import chat_router
from sgl_jax.server.openai.completions import completions_router
from sgl_jax.server.openai.models import models_router
from sgl_jax.server.openai.responses.items import DeletedResponse, ResponseObject
from sgl_jax.server.openai.responses.route import responses_router
from sgl_jax.server.openai.responses.schema import ResponsesRequest
from sgl_jax.server.openai.schema.chat import ChatChunk, ChatCompletion, ChatRequest
from sgl_jax.server.openai.schema.completions import Completion, CompletionRequest
from sgl_jax.server.openai.schema.models import ModelCard, ModelList
from sgl_jax.server.openapi import install_openapi
from sgl_jax.server.page.route import page_router
from sgl_jax.server.request_id import HEADER, RequestIdMiddleware
from sgl_jax.server.search.embeddings import embeddings_router
from sgl_jax.server.search.rerank import rerank_router
from sgl_jax.server.search.schema import (
    EmbeddingList,
    EmbeddingRequest,
    RerankAnswer,
    RerankRequest,
    ScoreAnswer,
    ScoreRequest,
)
from sgl_jax.server.search.score import score_router
from sgl_jax.server.server_info import VERSION, Load, ModelInfo, ServerInfo, VersionInfo, info_router
from sgl_jax.server.tokenization import (
    DetokenizeAnswer,
    DetokenizeRequest,
    TemplateAnswer,
    TemplateRequest,
    TokenizeAnswer,
    TokenizeRequest,
    TokenizerInfo,
    tokenization_router,
)

ROUTERS = (
    chat_router,
    completions_router,
    responses_router,
    messages_router,
    embeddings_router,
    score_router,
    rerank_router,
    models_router,
    generate_router,
    parsing_router,
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
    ResponsesRequest,
    ResponseObject,
    DeletedResponse,
    MessagesRequest,
    MessageObject,
    CountTokensRequest,
    TokenCount,
    AnthropicErrorResponse,
    EmbeddingRequest,
    EmbeddingList,
    ScoreRequest,
    ScoreAnswer,
    RerankRequest,
    RerankAnswer,
    ModelCard,
    ModelList,
    NativeRequest,
    NativeAnswer,
    AbortBody,
    Aborted,
    FunctionCallBody,
    ParsedFunctionCalls,
    ReasoningBody,
    SeparatedReasoning,
    Done,
    PauseBody,
    ProfileBody,
    TokenizeRequest,
    TemplateAnswer,
    TemplateRequest,
    TokenizeAnswer,
    DetokenizeRequest,
    DetokenizeAnswer,
    TokenizerInfo,
    Health,
    ModelInfo,
    Load,
    ServerInfo,
    VersionInfo,
)


class AppOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What surrounds the routes.

    Attributes:
        keys: who may come in.
        cors_allow_origins: origins whose pages may call the server from a browser; `*` is all of them.
        access_log: whether every answer is logged.
        metrics: whether `/metrics` is answered.
        page: whether there is a page at `/`.
    """

    keys: Keys = Keys()
    cors_allow_origins: tuple[str, ...] = ()
    access_log: bool = True
    metrics: bool = True
    page: bool = True


_DEFAULTS = AppOptions()


def _telemetry(context: ServerContext) -> TelemetryConfig:
    """FastAPI's own part of the traces: the span of the HTTP request, and nothing else."""
    none: TelemetryConfig = {"auto_configure": False, "metrics": False, "logs": False, "operation_spans": False}
    if context.traces is None:
        return {**none, "tracing": False}
    return {**none, "tracer_provider": context.traces.provider, "exclude": lambda scope: scope["path"] in PROBES}


def create_app(context: ServerContext, options: AppOptions = _DEFAULTS) -> FastAPI:
    """The ASGI application. It answers at once; generating routes say 503 until the engine is ready.

    It neither starts nor ends the engine: whoever made the context does.
    """
    app = FastAPI(
        title="SGL-JAX",
        version=VERSION,
        description="OpenAI-compatible and SGLang-native inference on JAX.",
        redirect_slashes=False,
        telemetry=_telemetry(context),
    )
    # From the inside out. A browser's question whether it may ask bears no key, so that CORS comes before the keys.
    app.add_middleware(AuthMiddleware, keys=options.keys)
    if options.cors_allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=options.cors_allow_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=[HEADER],
        )
    app.add_middleware(AccessMiddleware, counters=context.counters, log=options.access_log)
    app.add_middleware(RequestIdMiddleware)
    install_error_handlers(app)
    app.add_exception_handler(ClientGoneError, on_client_gone)
    for router in ROUTERS:
        app.include_router(router(context))
    if options.metrics:
        app.include_router(metrics_router(context))
    if options.page:
        app.include_router(page_router())
    install_openapi(app, STRUCTS)
    return app
