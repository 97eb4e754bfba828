"""Several questions at once: `SGL_JAX_BASE_URL=http://127.0.0.1:30000 python examples/client_async.py`."""

from __future__ import annotations

import asyncio

from sgl_jax.client import AsyncSglJax, SglJaxClientError

QUESTIONS = ["What is a haiku?", "Name three colours.", "How far is the moon?"]


async def main() -> None:
    async with AsyncSglJax() as client:
        await client.wait_until_ready(timeout=300)
        # The server answers these together, in one batch.
        answers = await asyncio.gather(
            *(client.chat(question, max_tokens=48) for question in QUESTIONS), return_exceptions=True
        )
    for question, answer in zip(QUESTIONS, answers, strict=True):
        if isinstance(answer, SglJaxClientError):
            print(f"{question}\n  failed: {answer}\n")
        elif isinstance(answer, BaseException):
            raise answer
        else:
            print(f"{question}\n  {answer.text}\n")


asyncio.run(main())
