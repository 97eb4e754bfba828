"""`embed` of both engines, on the executor that needs no device."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from sgl_jax.engine.async_engine import AsyncEngine
from sgl_jax.engine.engine import Engine
from sgl_jax.engine.errors import ContextLengthError, InvalidRequestError
from sgl_jax.engine.execution.fake import script_outputs
from sgl_jax.engine.sampling_params import SamplingParams

TEXTS = ["Hello, world!", "One, two, three.", "grüße 🙂"]
OPTIONS = {"device": "fake", "is_embedding": True, "max_total_tokens": 256, "chunked_prefill_size": 5}


def expected(hidden_size, token_ids, dimensions=None):
    vector = script_outputs(token_ids, hidden_size)[-1][:dimensions].astype(np.float64)
    return vector / np.linalg.norm(vector)


def test_texts_and_ids(tiny_folder):
    with Engine(tiny_folder, **OPTIONS) as engine:
        ids = engine.tokenizer.encode_batch(TEXTS)
        for found in (engine.embed(TEXTS), engine.embed(prompt_ids=ids)):
            for embedding, one in zip(found, ids, strict=True):
                np.testing.assert_allclose(embedding.vector, expected(engine.info.hidden_size, one), rtol=1e-6)
                assert (embedding.prompt_tokens, embedding.vector.dtype) == (len(one), np.float32)
        assert engine.embed("Hello, world!")[0].vector.tolist() == engine.embed(TEXTS)[0].vector.tolist()
        with pytest.raises(InvalidRequestError, match="either prompts or prompt_ids"):
            engine.embed()
        with pytest.raises(InvalidRequestError, match="empty"):
            engine.embed(prompt_ids=[[1], []])
        assert engine.embed(TEXTS[:1]), "a refusal leaves nothing behind"


def test_many_callers_at_once(tiny_folder):
    async def main():
        async with AsyncEngine(tiny_folder, **OPTIONS) as engine:
            ids = engine.tokenizer.encode_batch(TEXTS)
            alone = await asyncio.gather(*(engine.embed(text, dimensions=8) for text in TEXTS))
            together = await engine.embed(TEXTS, dimensions=8)
            with pytest.raises(ContextLengthError, match="at most 256 are embedded"):
                await engine.embed(prompt_ids=[[1], [3] * 300])
            with pytest.raises(InvalidRequestError, match="start it without --is-embedding"):
                async for _ in engine.stream("Hello", SamplingParams(max_new_tokens=1)):
                    pass
            stats = (await engine.control("stats")).stats
            assert stats.running == stats.waiting == 0
            width = engine.info().hidden_size
        for one, beside, (by_itself,) in zip(ids, together, alone, strict=True):
            for found in (beside, by_itself):
                np.testing.assert_allclose(found.vector, expected(width, one, 8), rtol=1e-6)

    asyncio.run(main())
