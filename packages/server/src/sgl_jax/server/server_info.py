"""What runs here: `/get_model_info`, `/get_server_info`, `/get_load`, `/version`."""

from __future__ import annotations

from importlib.metadata import version

import msgspec
from fastapi import APIRouter, Response

from sgl_jax.engine.messages import EngineInfo
from sgl_jax.engine.stats import EngineStats
from sgl_jax.server.context import ServerContext
from sgl_jax.server.errors import unavailable
from sgl_jax.server.json_response import json_response
from sgl_jax.server.openapi import describe

VERSION = version("sgl-jax-server")


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `/get_model_info`, under SGLang's names."""

    model_path: str
    served_model_name: str
    architecture: str
    is_generation: bool = True
    max_model_len: int
    vocab_size: int
    dtype: str
    weight_version: str = "default"


class ServerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `/get_server_info`."""

    version: str
    served_model_name: str
    phase: str
    engine: EngineInfo
    stats: EngineStats


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of `/get_load`, under SGLang's names: what a router wants to know of one engine.

    Attributes:
        num_reqs: running and waiting requests.
        num_tokens: KV tokens that running requests hold.
    """

    dp_rank: int = 0
    num_reqs: int
    num_waiting_reqs: int
    num_tokens: int


class VersionInfo(msgspec.Struct, frozen=True):
    """Answer of `/version`."""

    version: str


async def counters(context: ServerContext) -> EngineStats:
    """The engine's counters of this moment.

    Raises:
        ApiError: 503, the engine does not give them.
    """
    reply = await context.engine.control("stats")
    if reply.stats is None:
        raise unavailable(f"The engine did not give its counters: {reply.error}.")
    return reply.stats


def info_router(context: ServerContext) -> APIRouter:
    """The routes, bound to a server's parts."""
    router = APIRouter(tags=["info"])

    @router.get("/version", operation_id="version", summary="The server's version", **describe(answer=VersionInfo))
    async def get_version() -> Response:
        return json_response(VersionInfo(VERSION))

    @router.get(
        "/get_model_info", operation_id="get_model_info", summary="Facts about the model", **describe(answer=ModelInfo)
    )
    async def get_model_info() -> Response:
        info = context.ready_info()
        return json_response(
            ModelInfo(
                model_path=info.model_path,
                served_model_name=context.served_model_name,
                architecture=info.architecture,
                is_generation=not info.is_embedding,
                max_model_len=info.max_model_len,
                vocab_size=info.vocab_size,
                dtype=info.dtype,
            )
        )

    @router.get(
        "/get_server_info",
        operation_id="get_server_info",
        summary="The engine's facts and counters",
        **describe(answer=ServerInfo),
    )
    async def get_server_info() -> Response:
        info = context.ready_info()
        stats = await counters(context)
        return json_response(
            ServerInfo(
                version=VERSION,
                served_model_name=context.served_model_name,
                phase=str(context.phase()),
                engine=info,
                stats=stats,
            )
        )

    @router.get(
        "/get_load",
        operation_id="get_load",
        summary="How much there is to do",
        **describe(answer=Load, listed=True),
    )
    async def get_load() -> Response:
        info = context.ready_info()
        stats = await counters(context)
        held = stats.pages_total - stats.pages_free
        tokens = held * info.max_total_tokens // max(stats.pages_total, 1)
        load = Load(num_reqs=stats.running + stats.waiting, num_waiting_reqs=stats.waiting, num_tokens=tokens)
        return json_response([load])  # one an engine, of which there is one

    return router
