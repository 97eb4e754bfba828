"""Structured output from the live server: the model keeps to the form, and its neighbours are not disturbed."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.e2e.server_process import PATIENCE

pytestmark = pytest.mark.model

PET = {
    "type": "object",
    "properties": {"kind": {"enum": ["cat", "dog"]}, "age": {"type": "integer", "minimum": 0, "maximum": 20}},
    "required": ["kind", "age"],
    "additionalProperties": False,
}
DATE = r"[12][0-9]{3}-[01][0-9]-[0-3][0-9]"
FREE = {"prompt": "In a small town by the sea", "max_tokens": 12, "temperature": 0, "ignore_eos": True}
HELD: list[dict[str, Any]] = [
    {"prompt": "A pet as JSON: ", "response_format": {"type": "json_schema", "json_schema": {"schema": PET}}},
    {"prompt": "The date is ", "regex": DATE},
    {"prompt": "Is the sky blue? ", "choice": ["yes", "certainly not"], "logprobs": 1},
]


def test_forms_are_kept_and_neighbours_undisturbed(http: httpx.Client, url: str) -> None:
    alone = http.post("/v1/completions", json=FREE).json()["choices"][0]["text"]

    async def together() -> list[Any]:
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as client:
            bodies = [{"temperature": 1, "seed": 1, "max_tokens": 40, **held} for held in HELD]
            answers = await asyncio.gather(
                *(client.post("/v1/completions", json=body) for body in [FREE, *bodies, FREE])
            )
            return [answer.json()["choices"][0] for answer in answers]

    first, *held, last = asyncio.run(together())
    assert first["text"] == last["text"] == alone
    pet, date, sky = held
    if pet["finish_reason"] == "stop":
        read = json.loads(pet["text"])
        assert read["kind"] in ("cat", "dog")
        assert 0 <= read["age"] <= 20
    assert re.fullmatch(DATE, date["text"])
    assert sky["text"] in ("yes", "certainly not")
    assert "".join(sky["logprobs"]["tokens"]) == sky["text"]
    assert [choice["finish_reason"] for choice in (date, sky)] == ["stop", "stop"]


def test_forced_text_takes_few_steps(http: httpx.Client, stats: Callable[[], dict[str, Any]]) -> None:
    before = stats()
    body = {"prompt": "Q", "regex": "The answer to your question is (yes|no), without any doubt!", "max_tokens": 40}
    answer = http.post("/v1/completions", json=body).json()
    after = stats()
    assert answer["choices"][0]["finish_reason"] == "stop"
    tokens = answer["usage"]["completion_tokens"]
    assert after["generated_tokens_total"] - before["generated_tokens_total"] == tokens
    assert after["steps_total"] - before["steps_total"] < tokens / 2
    assert after["compiles_after_warmup"] == before["compiles_after_warmup"]
