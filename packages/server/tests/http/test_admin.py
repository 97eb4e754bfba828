"""Orders to the engine, under SGLang's routes and methods."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_cache_can_be_flushed(http: httpx.AsyncClient, engine: Any, method: str) -> None:
    answer = await http.request(method, "/flush_cache")
    assert answer.status_code == 200
    assert (answer.json()["success"], answer.json()["status"]) == (True, "ok")
    assert engine.orders == ["flush_cache"]


async def test_a_pause_and_its_end(http: httpx.AsyncClient, engine: Any) -> None:
    for path, message in (
        ("/pause_generation", "Generation paused."),
        ("/continue_generation", "Generation continued."),
    ):
        answer = await http.post(path)
        assert (answer.status_code, answer.json()) == (200, {"success": True, "status": "ok", "message": message})
    assert engine.orders == ["pause", "continue"]


@pytest.mark.parametrize(("mode", "reason"), [("abort", "abort"), ("in_place", "stop"), (None, "stop")])
async def test_a_pause_may_end_what_runs(http: httpx.AsyncClient, engine: Any, mode: str | None, reason: str) -> None:
    go_on = asyncio.Event()
    engine.script = lambda request: [*engine.say(request)[:5], go_on, *engine.say(request)[5:]]
    waiting = asyncio.ensure_future(http.post("/generate", json={"text": "Hi"}))
    while engine.generated < 5:
        await asyncio.sleep(0)
    assert (await http.post("/pause_generation", json={"mode": mode})).status_code == 200
    go_on.set()
    assert (await waiting).json()["meta_info"]["finish_reason"]["type"] == reason


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_profile(http: httpx.AsyncClient, engine: Any, method: str) -> None:
    refused = await http.request(method, "/stop_profile")
    assert refused.status_code == 400
    assert "start one first" in refused.json()["error"]["message"]
    for path in ("/start_profile", "/stop_profile"):
        answer = await http.request(method, path)
        assert (answer.status_code, answer.json()["output_dir"]) == (200, "/profiles/1")
    assert engine.orders == ["stop_profile", "start_profile", "stop_profile"]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/pause_generation", {"mode": "retract"}, "mode"),
        ("/start_profile", {"output_dir": "/etc"}, "output_dir"),
        ("/start_profile", {"num_steps": 5}, "num_steps"),
        ("/start_profile", {"start_step": 1}, "start_step"),
    ],
)
async def test_what_cannot_be_ordered_is_refused(
    http: httpx.AsyncClient, engine: Any, path: str, body: dict[str, Any], param: str
) -> None:
    refused = await http.post(path, json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    assert engine.orders == []


async def test_a_body_that_asks_for_nothing_more_is_taken(http: httpx.AsyncClient) -> None:
    assert (await http.post("/flush_cache", content=b"", headers={"content-type": "text/plain"})).status_code == 200
    assert (await http.post("/flush_cache", content=b"x", headers={"content-type": "text/plain"})).status_code == 415
    # As SGLang's own clients send them.
    for path, body in (("/start_profile", {"output_dir": None, "activities": ["CPU"]}), ("/continue_generation", {})):
        assert (await http.post(path, json=body)).status_code == 200
