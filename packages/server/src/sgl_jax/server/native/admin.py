"""`GET|POST /flush_cache`."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Response

from sgl_jax.server.context import ServerContext
from sgl_jax.server.errors import unavailable
from sgl_jax.server.json_response import json_response
from sgl_jax.server.openapi import describe


class Flushed(msgspec.Struct, frozen=True):
    """Answer of `/flush_cache`."""

    success: bool = True


def admin_router(context: ServerContext) -> APIRouter:
    """The routes, bound to a server's parts."""
    router = APIRouter(tags=["native"])
    described = describe(answer=Flushed)

    @router.get("/flush_cache", operation_id="flush_cache", summary="Forget all cached prefixes", **described)
    @router.post("/flush_cache", operation_id="flush_cache_post", summary="The same as GET", **described)
    async def flush_cache() -> Response:
        context.ready_info()
        reply = await context.engine.control("flush_cache")
        if reply.error is not None:
            raise unavailable(f"The cache was not flushed: {reply.error}")
        return json_response(Flushed())

    return router
