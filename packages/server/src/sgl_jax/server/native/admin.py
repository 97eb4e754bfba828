"""Orders to the engine: forget prefixes, pause, go on, record a profile. Behind `--admin-api-key` where one is set."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import UNSET, Meta, UnsetType

from sgl_jax.engine.messages import ControlVerb
from sgl_jax.server.body import BodyReader
from sgl_jax.server.context import ServerContext
from sgl_jax.server.errors import bad_request
from sgl_jax.server.json_response import json_response
from sgl_jax.server.openapi import describe
from sgl_jax.server.unsupported import refuse_unsupported

BodyT = TypeVar("BodyT", bound=msgspec.Struct)


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """The order was carried out. `output_dir`, on the server, is where a profile is written."""

    success: bool = True
    status: Literal["ok"] = "ok"
    message: str
    output_dir: str | UnsetType = UNSET


class NoFields(msgspec.Struct):
    """Body of orders that say all there is; it may be left out."""


class PauseBody(msgspec.Struct, kw_only=True):
    """Body of `POST /pause_generation`; it may be left out."""

    mode: Annotated[
        Literal["in_place", "abort"] | None,
        Meta(description="What becomes of the requests under way: they wait (default), or end with reason `abort`."),
    ] = None


class ProfileBody(msgspec.Struct, kw_only=True):
    """Body of `POST /start_profile`; it may be left out. What is recorded, and where, the server decides."""

    output_dir: Annotated[str | None, Meta(description="Not supported: the answer says where.")] = None
    start_step: Annotated[int | None, Meta(description="Not supported: it begins at once.")] = None
    num_steps: Annotated[int | None, Meta(description="Not supported: `/stop_profile` ends it.")] = None


_NEUTRAL: Mapping[str, tuple[Any, ...]] = {"output_dir": ("",), "start_step": (), "num_steps": ()}


def admin_router(context: ServerContext) -> APIRouter:
    """The routes, bound to a server's parts."""
    router = APIRouter(tags=["native"])

    async def obey(verb: ControlVerb, message: str) -> Response:
        reply = await context.engine.control(verb)
        if reply.error is not None:
            raise bad_request(reply.error)
        return json_response(Done(message=message, output_dir=UNSET if reply.folder is None else reply.folder))

    def route(
        path: str,
        methods: tuple[str, ...],
        summary: str,
        act: Callable[[BodyT], Awaitable[Response]],
        body: type[BodyT],
    ) -> None:
        """Adds a route under every method that SGLang has for it. The body may be empty."""
        reader = BodyReader(body, optional=True)

        async def answer(request: Request) -> Response:
            context.ready_info()
            return await act(await reader.read(request, context))

        first, *others = methods
        name = path[1:]
        shown = None if body is NoFields else body
        described = {method: describe(answer=Done) for method in methods}
        described["POST"] = describe(body=shown, example={}, body_required=False, answer=Done)
        router.add_api_route(path, answer, methods=[first], operation_id=name, summary=summary, **described[first])
        for method in others:
            router.add_api_route(
                path,
                answer,
                methods=[method],
                operation_id=f"{name}_{method.lower()}",
                summary=f"The same as {first}",
                **described[method],
            )

    async def flush_cache(_: NoFields) -> Response:
        return await obey("flush_cache", "Cached prefixes that no running request uses are forgotten.")

    async def pause(body: PauseBody) -> Response:
        paused = await obey("pause", "Generation paused.")
        if body.mode == "abort":  # after the pause, or others would take their places
            await context.engine.abort(context.live.all())
        return paused

    async def go_on(_: NoFields) -> Response:
        return await obey("continue", "Generation continued.")

    async def start_profile(body: ProfileBody) -> Response:
        refuse_unsupported(body, neutral_values=_NEUTRAL)
        return await obey("start_profile", "Recording; POST /stop_profile ends it and writes the profile.")

    async def stop_profile(_: NoFields) -> Response:
        return await obey("stop_profile", "The profile is written.")

    route("/flush_cache", ("GET", "POST"), "Forget all cached prefixes", flush_cache, NoFields)
    route("/pause_generation", ("POST",), "Take requests, but compute none", pause, PauseBody)
    route("/continue_generation", ("POST",), "Go on after a pause", go_on, NoFields)
    route("/start_profile", ("POST", "GET"), "Record what the device does", start_profile, ProfileBody)
    route("/stop_profile", ("POST", "GET"), "Write what was recorded", stop_profile, NoFields)
    return router
