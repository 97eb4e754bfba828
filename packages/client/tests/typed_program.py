"""A user's program, which `tools/wheel_smoke.py` has mypy check in strict mode. It is never run.

`type: ignore[...]` marks what must be refused: strict mode complains of an ignore that hides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import httpx
from pydantic import BaseModel

from sgl_jax.client import APIError, AsyncSglJax, SglJax, ToolLimitError
from sgl_jax.client.tools import Tool
from sgl_jax.client.types import (
    BatchResult,
    ChatCompletion,
    ChatCompletionChunk,
    ChatMessage,
    Completion,
    Done,
    Embeddings,
    EngineLoad,
    GenerateResponse,
    Health,
    LoraAdapters,
    MessageParam,
    Metrics,
    ModelList,
    ParsedChatCompletion,
    Ranking,
    Scores,
    ToolRun,
    Usage,
)


class City(BaseModel):
    name: str


client = SglJax("http://h", timeout=httpx.Timeout(3, connect=1), api_key=None)

assert_type(client.chat("Hello!"), ChatCompletion)
assert_type(client.chat("Hello!").text, str)
assert_type(client.chat("Hello!").usage, Usage | None)
assert_type(client.chat.completions.create(messages=[{"role": "user", "content": "x"}]), ChatCompletion)

with client.chat.completions.create(messages="x", stream=True, stream_options={"include_usage": True}) as stream:
    for chunk in stream:
        assert_type(chunk, ChatCompletionChunk)
        assert_type(chunk.choices[0].delta.content, str | None)
    assert_type(stream.text_stream, Iterator[str])
    assert_type(stream.get_final_message(), ChatMessage)
    assert_type(stream.get_final_response(), ChatCompletion)

assert_type(client.generate("x"), GenerateResponse)
assert_type(client.generate([1, 2]), GenerateResponse)
assert_type(client.generate(["x", "y"]), list[GenerateResponse])
assert_type(client.generate("x", stream=True).get_final_response(), GenerateResponse)
assert_type(client.completions.create(prompt=[1], stream=False), Completion)
assert_type(client.embeddings.create(input=["x"], dimensions=8), Embeddings)
assert_type(client.embeddings.create(input="x").vectors, list[list[float]])
assert_type(client.score("x", ["y"], label_token_ids=[1], apply_softmax=True), Scores)
assert_type(client.rerank("x", ["y", {"text": "z"}], top_n=1), Ranking)
assert_type(client.models.list(), ModelList)
assert_type(client.health.ready(), Health)
assert_type(client.with_options(timeout=3, deadline=9, max_retries=0), SglJax)
assert_type(client.tokenize("x").tokens, list[int])
assert_type(client.detokenize([1]).text, str)
assert_type(client.admin.metrics(), Metrics)
assert_type(client.admin.metrics()["x"], float)
assert_type(client.admin.load(), list[EngineLoad])
assert_type(client.admin.pause("abort"), Done)
assert_type(client.admin.load_lora_adapter("x", "y"), LoraAdapters)
assert_type(client.apply_template("x", tools=[]).text, str)

assert_type(client.chat.parse("x", City), ParsedChatCompletion[City])
assert_type(client.chat.parse("x", City, temperature=0).parsed.name, str)
assert_type(client.chat.parse("x", list[int]).parsed, list[int])
assert_type(client.chat.completions.parse(messages="x", response_format=City).parsed, City)
assert_type(client.chat.stream("x", City).get_final_parsed(), City)
assert_type(client.chat.stream("x", City, seed=1).get_final_response(), ParsedChatCompletion[City])
assert_type(client.chat.stream("x", temperature=0).get_final_completion(), ChatCompletion)
assert_type(client.chat.completions.stream(messages="x", response_format=City).get_final_parsed(), City)
assert_type(client.chat.completions.stream(messages="x").get_final_response(), ChatCompletion)
assert_type(client.chat.run_tools("x", tools=[len, Tool.of(len)], max_turns=3, tool_choice="auto"), ToolRun)
assert_type(client.chat.run_tools("x", tools=[]).messages, list[MessageParam])
assert_type(client.batch(client.chat, ["x"]), list[BatchResult[ChatCompletion]])
assert_type(client.batch(lambda n: client.chat.parse(f"{n}", City).parsed, range(3))[0].unwrap(), City)


def maybe_stream(flag: bool) -> str:
    answer = client.chat("x", stream=flag)
    return answer.text if isinstance(answer, ChatCompletion) else answer.get_final_message().text


def conversation() -> list[MessageParam]:
    plain = [{"role": "user", "content": "x"}]
    client.chat(plain)
    messages: list[MessageParam] = [*plain]
    messages.append(client.chat(messages, temperature=0, stop="x", n=1).message)
    return messages


client.chat("x", temperature="hot")  # type: ignore[call-overload]
client.chat("x", no_such_argument=1)  # type: ignore[call-overload]
client.chat(messages=3)  # type: ignore[call-overload]
client.chat.parse("x", City, regex="a")  # type: ignore[call-arg]
client.chat.stream("x", City, regex="a")  # type: ignore[call-overload]
client.admin.pause("later")  # type: ignore[arg-type]
client.chat.run_tools("x", tools=[3])  # type: ignore[list-item]
client.generate("x", sampling_params={"max_new_tokenz": 3})  # type: ignore[call-overload]


async def main() -> None:
    async with AsyncSglJax() as client:
        assert_type(await client.chat("x"), ChatCompletion)
        assert_type(await client.generate(["x"]), list[GenerateResponse])
        assert_type(await client.models.list(), ModelList)
        assert_type(await client.rerank("x", ["y"]), Ranking)
        assert_type(await asyncio.gather(client.chat("x"), client.health()), tuple[ChatCompletion, Health])
        assert_type((await client.chat.parse("x", City)).parsed, City)
        assert_type((await client.chat.completions.parse(messages="x", response_format=City)).parsed, City)
        assert_type(await client.chat.run_tools("x", tools=[main]), ToolRun)
        assert_type(await client.batch(client.chat, ["x"]), list[BatchResult[ChatCompletion]])
        assert_type(await client.admin.metrics(), Metrics)
        assert_type((await client.tokenize("x")).count, int)
        assert_type(await client.admin.load(), list[EngineLoad])
        async with client.chat.stream("x", City) as parsed:
            assert_type(await parsed.get_final_parsed(), City)
        async with client.chat.completions.stream(messages="x", response_format=City) as named:
            assert_type(await named.get_final_completion(), ParsedChatCompletion[City])
        async with client.chat.stream("x") as stream:
            assert_type(stream.text_stream, AsyncIterator[str])
            assert_type(await stream.get_final_message(), ChatMessage)
        opened = await client.completions.create(prompt="x", stream=True)
        async with opened:
            async for chunk in opened:
                assert_type(chunk, Completion)
        task = asyncio.create_task(client.chat.stream("x"))
        assert_type((await task).request_id, str)
        try:
            await client.chat("x")
        except APIError as error:
            assert_type(error.status, int | None)
        except ToolLimitError as limit:
            assert_type(limit.completion, ChatCompletion)
