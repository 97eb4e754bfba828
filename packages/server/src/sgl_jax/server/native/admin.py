"""Orders to the engine: forget prefixes, pause, go on, record a profile. Behind `--admin-api-key` where one is set."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from fastapi import APIRouter, Response
from msgspec import UNSET, UnsetType

from sgl_jax.engine.messages import ControlVerb
from sgl_jax.server.context import ServerContext
from sgl_jax.server.errors import bad_request
from sgl_jax.server.json_response import json_response
from sgl_jax.server.openapi import describe


class Done(msgspec.Struct, frozen=True):
    """The order was carried out. `output_dir`, on the server, is where a profile is written."""

    success: bool = True
    output_dir: str | UnsetType = UNSET


ORDERS: dict[str, tuple[ControlVerb, str]] = {
    "/pause_generation": ("pause", "Take requests, but compute none"),
    "/continue_generation": ("continue", "Go on after a pause"),
    "/start_profile": ("start_profile", "Record what the device does"),
    "/stop_profile": ("stop_profile", "Write what was recorded"),
}
"""Route -> what the engine is told, and what that is."""


def admin_router(context: ServerContext) -> APIRouter:
    """The routes, bound to a server's parts."""
    router = APIRouter(tags=["native"])
    described = describe(answer=Done)

    def obey(verb: ControlVerb) -> Callable[[], Awaitable[Response]]:
        async def route() -> Response:
            context.ready_info()
            reply = await context.engine.control(verb)
            if reply.error is not None:
                raise bad_request(reply.error)
            return json_response(Done(output_dir=UNSET if reply.folder is None else reply.folder))

        return route

    flush = obey("flush_cache")
    router.get("/flush_cache", operation_id="flush_cache", summary="Forget all cached prefixes", **described)(flush)
    router.post("/flush_cache", operation_id="flush_cache_post", summary="The same as GET", **described)(flush)
    for path, (verb, summary) in ORDERS.items():
        router.post(path, operation_id=path[1:], summary=summary, **described)(obey(verb))
    return router
