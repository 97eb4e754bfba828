"""The official `openai` SDK against the live server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionUserMessageParam

pytestmark = pytest.mark.model

GOLDEN = Path(__file__).parents[1] / "parity" / "goldens" / "smollm2.json"
QUESTION = "What is gravity?"
CONTINUED = "The capital of France is"


@pytest.fixture(scope="module")
def golden() -> dict[str, dict[str, Any]]:
    """What `transformers` says (tests/parity), by prompt."""
    return {case["text"]: case for case in json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"]}


@pytest.fixture(scope="module")
def answer(golden: dict[str, dict[str, Any]]) -> str:
    """The right answer to `QUESTION`, 64 tokens of it."""
    (case,) = (case for prompt, case in golden.items() if QUESTION in prompt)
    text: str = case["completion"]
    return text


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def asked(question: str = QUESTION) -> list[ChatCompletionUserMessageParam]:
    return [{"role": "user", "content": question}]


def test_a_chat_gets_the_right_answer(client: openai.OpenAI, model: str, answer: str) -> None:
    said = client.chat.completions.create(
        model=model, messages=asked(), temperature=0, max_tokens=64, logprobs=True, top_logprobs=2
    )
    (choice,) = said.choices
    assert choice.message.role == "assistant"
    assert choice.message.content == answer
    assert choice.finish_reason == "length"
    assert said.usage is not None
    assert (said.usage.prompt_tokens, said.usage.completion_tokens, said.usage.total_tokens) == (34, 64, 98)
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert "".join(token.token for token in choice.logprobs.content) == answer
    for token in choice.logprobs.content:
        assert token.token == token.top_logprobs[0].token
        assert token.logprob == pytest.approx(token.top_logprobs[0].logprob)
        assert token.logprob > token.top_logprobs[1].logprob


def test_a_streamed_chat_gets_the_same(client: openai.OpenAI, model: str, answer: str) -> None:
    chunks = list(
        client.chat.completions.create(
            model=model,
            messages=asked(),
            temperature=0,
            max_tokens=64,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == answer
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["length"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 64


def test_the_sdks_stream_helper(client: openai.OpenAI, model: str, answer: str) -> None:
    with client.chat.completions.stream(model=model, messages=asked(), temperature=0, stop=" spacetime") as stream:
        text = "".join(event.delta for event in stream if event.type == "content.delta")
        final = stream.get_final_completion()
    assert text == answer.split(" spacetime")[0]
    assert final.choices[0].message.content == text


def test_several_answers(client: openai.OpenAI, model: str) -> None:
    said = client.chat.completions.create(model=model, messages=asked(), n=3, temperature=1.5, max_tokens=12)
    assert sorted(choice.index for choice in said.choices) == [0, 1, 2]
    assert len({choice.message.content for choice in said.choices}) > 1
    assert said.usage is not None
    assert said.usage.prompt_tokens == 34  # once, however many answers


def test_completions(client: openai.OpenAI, model: str, golden: dict[str, dict[str, Any]]) -> None:
    case = golden[CONTINUED]
    right = case["completion"].split("<|im_end|>")[0]
    by_text = client.completions.create(model=model, prompt=CONTINUED, temperature=0, max_tokens=64, logprobs=2)
    by_ids = client.completions.create(model=model, prompt=case["prompt_ids"], temperature=0, max_tokens=64)
    for said in (by_text, by_ids):
        (choice,) = said.choices
        assert choice.text == right
        assert choice.finish_reason == "stop"
        assert said.usage is not None
        assert said.usage.prompt_tokens == len(case["prompt_ids"])
    logprobs = by_text.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.token_logprobs is not None
    expected = [best[0] for best in case["top_logprobs"][: len(logprobs.token_logprobs)]]
    assert logprobs.token_logprobs == pytest.approx(expected, abs=1e-3)


def test_a_streamed_batch_of_completions(client: openai.OpenAI, model: str) -> None:
    prompts = [CONTINUED, "Once upon a time", "2 + 2 ="]
    whole = client.completions.create(model=model, prompt=prompts, temperature=0, max_tokens=10)
    pieces = dict.fromkeys(range(3), "")
    for chunk in client.completions.create(model=model, prompt=prompts, temperature=0, max_tokens=10, stream=True):
        for choice in chunk.choices:
            pieces[choice.index] += choice.text
    assert pieces == {choice.index: choice.text for choice in whole.choices}


def test_models(client: openai.OpenAI, model: str) -> None:
    assert [card.id for card in client.models.list()] == [model]
    assert client.models.retrieve(model).object == "model"


def test_errors_are_the_sdks_own(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-4", messages=asked())
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model=model, messages=asked(), temperature=-1)
    assert bad.value.param == "temperature"
    assert bad.value.request_id
    with pytest.raises(openai.BadRequestError) as long:
        client.completions.create(model=model, prompt=[1] * 8192, max_tokens=1)
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as streamed:
        client.chat.completions.create(model=model, messages=asked(), max_tokens=10**6, stream=True)
    assert streamed.value.param == "max_tokens"


def test_async(url: str, model: str, answer: str) -> None:
    async def ask(client: openai.AsyncOpenAI, *, stream: bool) -> str:
        if not stream:
            said = await client.chat.completions.create(model=model, messages=asked(), temperature=0, max_tokens=24)
            return said.choices[0].message.content or ""
        chunks = await client.chat.completions.create(
            model=model, messages=asked(), temperature=0, max_tokens=24, stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

    async def scenario() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            return await asyncio.gather(*(ask(client, stream=number % 2 == 0) for number in range(6)))

    texts = asyncio.run(scenario())
    assert len(set(texts)) == 1
    assert texts[0]
    assert answer.startswith(texts[0])
