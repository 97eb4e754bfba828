"""A sample of `tools/mutated_bodies.py`: no body gets a 5xx or an error of another shape, and nothing stays running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tools.hostile_bodies import BodyMaker
from tools.mutated_bodies import verdict

pytestmark = pytest.mark.anyio

COUNT = 1500


async def test_no_body_is_too_strange(
    make_app: Callable[..., FastAPI], connect: Callable[[FastAPI], httpx.AsyncClient], engine: Any
) -> None:
    app = make_app()
    maker = BodyMaker(app.openapi(), seed=1)
    assert len(maker.routes) > 9
    statuses = set()
    async with connect(app) as http:
        for number in range(COUNT):
            method, path, content_type, content = maker.make(number)
            headers = [(b"content-type", content_type.encode())]
            async with asyncio.timeout(60):
                response = await http.request(method, path, content=content, headers=headers)
            assert verdict(response) == "", (number, method, path, content[:2000])
            statuses.add(response.status_code)
        assert statuses >= {200, 400, 415}
        assert (await http.get("/readyz")).status_code == 200
    assert len(engine.finished) + len(engine.aborted) == len(engine.submitted) > COUNT / 20


def test_the_same_seed_makes_the_same_bodies(make_app: Callable[..., FastAPI]) -> None:
    document = make_app().openapi()
    one, same, other = (BodyMaker(document, seed) for seed in (1, 1, 2))
    assert [one.make(number) for number in range(50)] == [same.make(number) for number in range(50)]
    assert [one.make(number) for number in range(50)] != [other.make(number) for number in range(50)]
