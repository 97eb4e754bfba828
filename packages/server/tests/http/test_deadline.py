"""Requests that take too long to compute."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

pytestmark = pytest.mark.anyio

Connect = Callable[[FastAPI], httpx.AsyncClient]


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("tokens_before", [0, 2])
async def test_a_request_that_takes_too_long_is_ended(
    make_app: Callable[..., FastAPI], connect: Connect, engine: Any, n: int, tokens_before: int
) -> None:
    engine.script = lambda request: [*engine.say(request)[:tokens_before], asyncio.Event()]
    async with connect(make_app(request_seconds=0.05)) as client:
        answer = await client.post("/v1/completions", json={"prompt": "Hi", "n": n})
    assert answer.status_code == 408
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == ("request_timeout", "timeout_error")
    assert "--max-request-seconds" in error["message"]
    assert sorted(engine.aborted) == sorted(request.request_id for request in engine.submitted)


async def test_a_stream_says_so_in_its_last_event(
    make_app: Callable[..., FastAPI], connect: Connect, engine: Any
) -> None:
    engine.script = lambda request: [*engine.say(request)[:3], asyncio.Event()]
    async with connect(make_app(request_seconds=0.05)) as client:
        answer = await client.post("/v1/completions", json={"prompt": "Hi", "stream": True})
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert json.loads(events[-1])["error"]["code"] == "request_timeout"
    assert len(engine.aborted) == 1


async def test_what_ends_in_time_is_left_alone(make_app: Callable[..., FastAPI], connect: Connect, engine: Any) -> None:
    async with connect(make_app(request_seconds=60)) as client:
        answer = await client.post("/v1/completions", json={"prompt": "Hi", "max_tokens": 3})
        assert answer.json()["usage"]["completion_tokens"] == 3
    engine.script = lambda request: [asyncio.Event()]
    async with connect(make_app(request_seconds=60)) as client:
        asking = asyncio.create_task(client.post("/generate", json={"text": "Hi", "rid": "mine"}))
        while len(engine.submitted) < 2:
            await asyncio.sleep(0)
        await client.post("/abort_request", json={"rid": "mine"})
        assert (await asking).json()["meta_info"]["finish_reason"]["type"] == "abort"
