"""Our own client against the live server: sync, async, streams, readiness, errors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import pytest
from pydantic import BaseModel

from sgl_jax.client import AsyncSglJax, BadRequestError, NotFoundError, SglJax, ToolLimitError
from sgl_jax.client.types import MessageParam

pytestmark = pytest.mark.model

QUESTION = "Name a primary colour."


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[SglJax]:
    with SglJax(url) as client:
        yield client


def test_ready_and_healthy(client: SglJax) -> None:
    phases: list[str] = []
    client.wait_until_ready(timeout=60, on_progress=phases.append)
    assert phases[-1] == "ready"
    assert client.health().ok
    assert client.health().description == "ready"
    assert client.health.ready().ok


def test_a_conversation(client: SglJax) -> None:
    conversation: list[MessageParam] = [{"role": "user", "content": QUESTION}]
    first = client.chat(conversation, temperature=0, max_tokens=24)
    conversation += [first.message, {"role": "user", "content": "Why?"}]
    second = client.chat(conversation, temperature=0, max_tokens=8)
    assert first.text
    assert second.text
    assert first.usage
    assert second.usage
    assert second.usage.prompt_tokens > first.usage.prompt_tokens + first.usage.completion_tokens


def test_a_stream_is_the_answer_in_pieces(client: SglJax) -> None:
    whole = client.chat(QUESTION, temperature=0, max_tokens=12)
    with client.chat.stream(QUESTION, temperature=0, max_tokens=12, stream_options={"include_usage": True}) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_response()
    assert len(pieces) > 1
    assert "".join(pieces) == final.text == whole.text
    assert final.choices[0].finish_reason == whole.choices[0].finish_reason
    assert final.choices[0].matched_stop == whole.choices[0].matched_stop
    assert final.usage
    assert whole.usage
    assert final.usage.completion_tokens == whole.usage.completion_tokens


def test_native_generation(client: SglJax) -> None:
    one = client.generate("The sky is", sampling_params={"max_new_tokens": 6, "temperature": 0}, return_logprob=True)
    assert len(one.output_ids) == 6
    assert one.meta_info.output_token_logprobs
    assert [entry[1] for entry in one.meta_info.output_token_logprobs] == one.output_ids
    prompts = ["The sky is", "Grass is"]
    several = client.generate(prompts, sampling_params={"max_new_tokens": 6, "temperature": 0})
    assert [answer.meta_info.completion_tokens for answer in several] == [6, 6]
    assert several[0].output_ids == one.output_ids
    with client.generate("The sky is", sampling_params={"max_new_tokens": 6, "temperature": 0}, stream=True) as stream:
        assert "".join(stream.text_stream) == one.text
        assert stream.get_final_response().output_ids == one.output_ids


def test_models(client: SglJax, model: str) -> None:
    (card,) = client.models.list()
    assert card == client.models.retrieve(model)
    assert (card.id, card.max_model_len) == (model, 8192)


class Mood(BaseModel):
    mood: Literal["good", "bad"]
    sure: bool = False


def test_answers_as_objects(client: SglJax) -> None:
    results = client.batch(lambda n: client.chat.parse(QUESTION, Mood, seed=n, max_tokens=40).parsed, range(4))
    for mood in (result.unwrap() for result in results):
        assert mood.model_fields_set == {"mood", "sure"}
    with client.chat.stream(QUESTION, Mood, seed=1, max_tokens=40) as stream:
        assert "".join(stream.text_stream) == stream.get_final_message().text
        assert stream.get_final_parsed().model_fields_set == {"mood", "sure"}


def test_a_tool_is_called_with_what_its_types_say(client: SglJax) -> None:
    days = []

    def weather(day: Literal["today", "tomorrow"]) -> str:
        """Forecasts the weather."""
        days.append(day)
        return "sunny"

    with pytest.raises(ToolLimitError) as limit:
        client.chat.run_tools("Hello!", tools=[weather], tool_choice="required", max_tokens=100, max_turns=1)
    assert days
    assert set(days) <= {"today", "tomorrow"}
    assert len(limit.value.messages) == 2 + len(days)


def test_tokens_and_administration(client: SglJax) -> None:
    assert client.detokenize(client.tokenize("Hello, world!").tokens).text == "Hello, world!"
    assert client.tokenize([{"role": "user", "content": "Hello!"}]).count > 2
    assert client.admin.metrics().value("sglang:num_running_reqs") is not None
    assert client.admin.server_info().phase == "ready"
    assert client.admin.model_info().max_model_len == 8192
    assert client.admin.abort("nobody").aborted == 0
    assert "Hello!" in client.apply_template("Hello!").text
    assert client.admin.load()[0].num_waiting_reqs == 0
    with pytest.raises(NotFoundError):  # as its docstring says
        client.admin.load_lora_adapter("poet", "/adapters/poet")


def test_a_pause_holds_what_comes(client: SglJax) -> None:
    expected = client.chat(QUESTION, temperature=0, max_tokens=12).text
    assert client.admin.pause().success
    with ThreadPoolExecutor(1) as pool:
        try:
            waiting = pool.submit(client.chat, QUESTION, temperature=0, max_tokens=12)
            while client.admin.load()[0].num_waiting_reqs == 0:
                assert not waiting.done()
        finally:
            client.admin.continue_()
        assert waiting.result(timeout=60).text == expected


def test_errors_are_typed(client: SglJax) -> None:
    with pytest.raises(BadRequestError) as bad:
        client.chat(QUESTION, temperature=-1)
    assert bad.value.param == "temperature"
    assert bad.value.request_id
    with pytest.raises(NotFoundError) as missing:
        client.chat(QUESTION, model="gpt-4")
    assert missing.value.code == "model_not_found"
    with pytest.raises(BadRequestError), client.chat.stream(QUESTION, max_tokens=10**6) as stream:
        next(stream)


def test_async(url: str, client: SglJax) -> None:
    expected = client.chat(QUESTION, temperature=0, max_tokens=12).text

    async def scenario() -> None:
        async with AsyncSglJax(url) as asked:
            await asked.wait_until_ready(timeout=60)
            answers = await asyncio.gather(*(asked.chat(QUESTION, temperature=0, max_tokens=12) for _ in range(3)))
            assert [answer.text for answer in answers] == [expected] * 3
            async with asked.chat.stream(QUESTION, temperature=0, max_tokens=12) as stream:
                assert "".join([text async for text in stream.text_stream]) == expected
            async with asked.chat.stream(QUESTION, max_tokens=2000, ignore_eos=True) as left:
                await anext(left)

    asyncio.run(scenario())
