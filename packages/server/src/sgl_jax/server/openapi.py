"""OpenAPI from the msgspec structs, so that there is one definition of every body."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from sgl_jax.server.errors import ErrorResponse

_REF = "#/components/schemas/{name}"
_EVENT = {
    "type": "object",
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
    "required": ["data"],
}
"""OpenAPI's own form of a server-sent event."""


def describe(
    *,
    body: type[msgspec.Struct] | None = None,
    example: Any = None,
    body_required: bool = True,
    answer: type[msgspec.Struct] | None = None,
    batches: bool = False,
    listed: bool = False,
    streams: bool = False,
    error: type[msgspec.Struct] = ErrorResponse,
    path_params: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Keyword arguments for a FastAPI route decorator that document what the route takes and gives.

    Args:
        body: the JSON body's struct.
        example: a valid body.
        body_required: whether the body may not be left out.
        answer: the JSON answer's struct; None for an answer without a fixed shape.
        batches: whether the answer may be a list of `answer` instead.
        listed: whether it always is.
        streams: whether the answer may be a stream of events instead.
        error: the JSON body's struct where the answer is not a success.
        path_params: name -> description.
    """
    schema: dict[str, Any] = _ref(answer) if answer else {}
    if listed:
        schema = {"type": "array", "items": schema}
    if batches:
        schema = {"anyOf": [schema, {"type": "array", "items": schema}]}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if streams:
        content["text/event-stream"] = {"itemSchema": _EVENT}
    extra: dict[str, Any] = {}
    if body is not None:
        extra["requestBody"] = {
            "required": body_required,
            "content": {"application/json": {"schema": _ref(body), "example": example}},
        }
    if path_params:
        extra["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "description": text}
            for name, text in path_params.items()
        ]
    return {
        "response_model": None,
        "responses": {
            200: {"description": "Success", "content": content},
            "default": {
                "description": "What went wrong",
                "content": {"application/json": {"schema": _ref(error)}},
            },
        },
        "openapi_extra": extra,
    }


def install_openapi(app: FastAPI, structs: Iterable[type[msgspec.Struct]]) -> None:
    """Makes `/openapi.json` complete.

    Args:
        structs: every body and answer that a route describes; they become component schemas.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            _, components = msgspec.json.schema_components([*structs, ErrorResponse], ref_template=_REF)
            schema.setdefault("components", {}).setdefault("schemas", {}).update(components)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _ref(struct: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": _REF.format(name=struct.__name__)}
