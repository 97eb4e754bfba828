"""A user's program, which mypy checks in strict mode (see `test_public_api`). It is never run.

`type: ignore[...]` marks what must be refused: strict mode complains of an ignore that hides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import httpx

from sgl_jax.client import APIError, AsyncSglJax, SglJax
from sgl_jax.client.types import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatMessage,
    Completion,
    GenerateResponse,
    Health,
    MessageParam,
    ModelList,
    Usage,
)

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
assert_type(client.models.list(), ModelList)
assert_type(client.health.ready(), Health)
assert_type(client.with_options(timeout=3, max_retries=0), SglJax)


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
client.generate("x", sampling_params={"max_new_tokenz": 3})  # type: ignore[call-overload]


async def main() -> None:
    async with AsyncSglJax() as client:
        assert_type(await client.chat("x"), ChatCompletion)
        assert_type(await client.generate(["x"]), list[GenerateResponse])
        assert_type(await client.models.list(), ModelList)
        assert_type(await asyncio.gather(client.chat("x"), client.health()), tuple[ChatCompletion, Health])
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
