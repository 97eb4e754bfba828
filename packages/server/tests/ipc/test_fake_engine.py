"""The client against the real worker and the real core, with the device that only pretends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sgl_jax.engine.config.default_model import find_default_model
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.execution.fake import script
from sgl_jax.engine.messages import GenerateRequest, TokenDelta
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.server.ipc.client import ZmqEngineClient

pytestmark = pytest.mark.model


def test_tokens_arrive_as_scripted_and_refusals_as_finish(run: Callable[[Awaitable[None]], None]) -> None:
    async def scenario() -> None:
        client = await ZmqEngineClient.start(EngineConfig(model_path=str(find_default_model()), device="fake"))
        try:
            info = await client.wait_ready()

            async def generate(index: int) -> list[TokenDelta]:
                sampling = SamplingParams(max_new_tokens=20, ignore_eos=True, seed=index)
                prompt = list(range(1, index + 2))
                await client.submit(GenerateRequest(request_id=str(index), prompt_ids=prompt, sampling=sampling))
                return [delta async for delta in client.outputs(str(index))]

            for index, deltas in enumerate(await asyncio.gather(*map(generate, range(40)))):
                tokens = [token for delta in deltas for token in delta.token_ids]
                expected = script(list(range(1, index + 2)), 20, vocab_size=info.vocab_size, seed=index)
                assert tokens == expected
                assert [delta.finish is not None for delta in deltas] == [False] * (len(deltas) - 1) + [True]

            await client.submit(GenerateRequest(request_id="bad", prompt_ids=[info.vocab_size]))
            (refusal,) = [delta async for delta in client.outputs("bad")]
            assert refusal.finish is not None
            assert (refusal.finish.reason, refusal.finish.code) == ("error", "invalid_request")
        finally:
            await client.close()

    run(scenario())
