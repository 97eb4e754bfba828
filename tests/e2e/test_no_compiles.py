"""After warm-up, 200 requests of mixed length compile nothing (the engine's own test lets JAX count, too)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from sgl_jax.client import AsyncSglJax

pytestmark = pytest.mark.model

REQUESTS = 200
IN_FLIGHT = 48  # more than run at once, so that some wait


def test_mixed_requests_compile_nothing(url: str, stats: Callable[[], dict[str, Any]]) -> None:
    rng = random.Random(0)
    requests: list[dict[str, Any]] = [
        {
            "prompt": [rng.randrange(100, 40_000) for _ in range(rng.choice([1, 1, 1, 2, 2, 2, 3, 5, 7, 16, 17, 65]))],
            "max_tokens": rng.choice([1, 2, 3]),
            "temperature": rng.choice([0.0, 0.8]),
            "logprobs": rng.choice([None, None, 3]),
        }
        for _ in range(REQUESTS)
    ]

    async def scenario() -> list[int]:
        in_flight = asyncio.Semaphore(IN_FLIGHT)

        async def ask(request: dict[str, Any]) -> int:
            async with in_flight:
                answer = await client.completions.create(**request)
            return answer.usage.prompt_tokens if answer.usage else 0

        async with AsyncSglJax(url) as client:
            return await asyncio.gather(*map(ask, requests))

    before = stats()
    assert asyncio.run(scenario()) == [len(request["prompt"]) for request in requests]
    after = stats()
    assert after["finished_total"] - before["finished_total"] == REQUESTS
    assert after["compiles_total"] == before["compiles_total"] > 0
    assert after["compiles_after_warmup"] == 0
