"""One line in the log for every answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from sgl_jax.server.app import AppOptions

pytestmark = pytest.mark.anyio

Fields = dict[str, Any]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[Fields]]:
    """The fields of all lines so far, each with its level."""
    caplog.set_level(logging.DEBUG, "sgl_jax.http")
    return lambda: [
        {**vars(record)["fields"], "level": record.levelname, "line": record.getMessage()}
        for record in caplog.records
        if record.name == "sgl_jax.http"
    ]


async def test_a_line_says_who_asked_what_and_what_became_of_it(
    http: httpx.AsyncClient, lines: Callable[[], list[Fields]]
) -> None:
    await http.post("/v1/completions", json={"prompt": "Hi", "max_tokens": 1}, headers={"x-request-id": "mine"})
    (line,) = lines()
    assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/completions", 200)
    assert (line["request_id"], line["level"]) == ("mine", "INFO")
    assert line["seconds"] >= 0
    assert "POST /v1/completions 200 in " in line["line"]
    assert "(mine)" in line["line"]


async def test_failures_have_their_status(
    http: httpx.AsyncClient, engine: Any, lines: Callable[[], list[Fields]]
) -> None:
    engine.script = lambda request: [RuntimeError("oops")]
    await http.post("/v1/completions", json={"prompt": "Hi"})
    await http.get("/no/such/route")
    assert [line["status"] for line in lines()] == [500, 404]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tokens_before", [0, 3])
async def test_a_client_that_left_has_499(
    make_app: Callable[..., FastAPI],
    serve: Callable[[FastAPI], str],
    engine: Any,
    lines: Callable[[], list[Fields]],
    stream: bool,
    tokens_before: int,
) -> None:
    engine.script = lambda request: [*engine.say(request)[:tokens_before], asyncio.Event()]
    async with httpx.AsyncClient(base_url=serve(make_app())) as http:
        asking = asyncio.create_task(http.post("/v1/completions", json={"prompt": "Hi", "stream": stream}))
        while engine.generated < tokens_before or not engine.submitted:
            await asyncio.sleep(0.001)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    while not lines():
        await asyncio.sleep(0.001)
    assert [line["status"] for line in lines()] == [499]


@pytest.mark.parametrize(
    ("method", "path", "level"),
    [
        ("GET", "/health", "DEBUG"),
        ("GET", "/readyz?verbose=1", "DEBUG"),
        ("HEAD", "/ping", "DEBUG"),
        ("GET", "/metrics", "DEBUG"),
        ("GET", "/get_server_info", "DEBUG"),
        ("GET", "/health_generate", "INFO"),
        ("POST", "/health", "INFO"),
        ("GET", "/v1/models", "INFO"),
    ],
)
async def test_probes_are_for_a_debug_log_only(
    http: httpx.AsyncClient, lines: Callable[[], list[Fields]], method: str, path: str, level: str
) -> None:
    await http.request(method, path)
    assert [line["level"] for line in lines()] == [level]


async def test_nobody_can_write_lines_of_their_own(http: httpx.AsyncClient, lines: Callable[[], list[Fields]]) -> None:
    await http.get("/a%0Ab%1B[31m", headers={"x-request-id": "in\tsane"})
    (line,) = lines()
    assert line["line"].isprintable()
    assert line["request_id"] != "in\tsane"


async def test_it_can_be_switched_off(
    make_app: Callable[..., FastAPI],
    connect: Callable[[FastAPI], httpx.AsyncClient],
    lines: Callable[[], list[Fields]],
) -> None:
    async with connect(make_app(options=AppOptions(access_log=False))) as client:
        await client.get("/v1/models")
    assert lines() == []
