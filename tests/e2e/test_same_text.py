"""A request's text does not depend on its neighbours, nor on how it is delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from sgl_jax.client import AsyncSglJax
from tests.e2e.server_process import PATIENCE

pytestmark = pytest.mark.model

STREAMS = 32
_STORY = (
    "In a small town by the sea there lived a baker who woke before the sun. Every morning she mixed flour, water and "
    "salt, and while the dough was rising she sat by the window."
)
WORDS = _STORY.split()


@dataclass(frozen=True)
class Heard:
    """What a stream said, in all."""

    text: str
    finish_reason: str | None
    prompt_tokens: int
    completion_tokens: int


def request(number: int) -> dict[str, Any]:
    """One of `STREAMS` requests: no two of the same length; half are greedy, half are sampled with a seed."""
    sampling: dict[str, Any] = {"temperature": 0}
    if number % 2:
        sampling = {"temperature": 1.0, "seed": number, "top_p": 0.95 if number % 4 == 1 else 1.0, "top_k": 50}
    return {"prompt": " ".join(WORDS[: 1 + number]), "max_tokens": 2 + number % 7, "ignore_eos": True, **sampling}


async def listen(client: AsyncSglJax, number: int) -> Heard:
    stream = client.completions.create(stream=True, stream_options={"include_usage": True}, **request(number))
    async with stream as chunks:
        answer = await chunks.get_final_response()
    assert answer.usage
    usage = answer.usage
    return Heard(answer.text, answer.choices[0].finish_reason, usage.prompt_tokens, usage.completion_tokens)


def test_32_streams_say_together_what_each_says_alone(url: str, stats: Callable[[], dict[str, Any]]) -> None:
    async def one_by_one() -> list[Heard]:
        async with AsyncSglJax(url) as client:
            return [await listen(client, number) for number in range(STREAMS)]

    async def together() -> list[Heard]:
        async with AsyncSglJax(url) as client:
            return await asyncio.gather(*(listen(client, number) for number in range(STREAMS)))

    alone = asyncio.run(one_by_one())
    before = stats()
    crowded = asyncio.run(together())
    after = stats()
    assert crowded == alone
    assert [heard.completion_tokens for heard in alone] == [request(number)["max_tokens"] for number in range(STREAMS)]
    assert len({heard.prompt_tokens for heard in alone}) == STREAMS
    tokens = after["generated_tokens_total"] - before["generated_tokens_total"]
    assert after["steps_total"] - before["steps_total"] < tokens / 2, "they did not run together"


@pytest.mark.parametrize("number", [0, 21])
def test_a_stream_adds_up_to_the_whole_answer(http: httpx.Client, url: str, number: int) -> None:
    async def streamed() -> Heard:
        async with AsyncSglJax(url) as client:
            return await listen(client, number)

    whole = http.post("/v1/completions", json=request(number)).json()
    choice, usage = whole["choices"][0], whole["usage"]
    expected = Heard(choice["text"], choice["finish_reason"], usage["prompt_tokens"], usage["completion_tokens"])
    assert asyncio.run(streamed()) == expected


def test_a_seed_makes_a_text_and_another_seed_another(http: httpx.Client) -> None:
    def text(seed: int) -> str:
        body = {"prompt": "Once upon a time", "max_tokens": 10, "temperature": 1.2, "seed": seed, "ignore_eos": True}
        said: str = http.post("/v1/completions", json=body, timeout=PATIENCE).json()["choices"][0]["text"]
        return said

    first = text(1)
    assert text(1) == first
    assert {first} != {text(seed) for seed in range(2, 4)}
