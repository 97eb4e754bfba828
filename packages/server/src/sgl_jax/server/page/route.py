"""`GET /` and the files that the page loads, under `/page/`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from sgl_jax.server.page.files import INDEX, PageFile, read_page


def page_router() -> APIRouter:
    """The routes. They need neither key nor engine, and are no part of the API, so OpenAPI does not list them."""
    router = APIRouter(include_in_schema=False)
    files = read_page()

    @router.api_route("/", methods=["GET", "HEAD"])
    async def index(request: Request) -> Response:
        return _answer(request, files[INDEX])

    @router.api_route("/page/{name}", methods=["GET", "HEAD"])
    async def file(request: Request, name: str) -> Response:
        if (found := files.get(name)) is None:
            raise HTTPException(404)
        return _answer(request, found)

    return router


def _answer(request: Request, file: PageFile) -> Response:
    if file.is_known(request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=file.headers)
    return Response(file.content, headers=file.headers)
