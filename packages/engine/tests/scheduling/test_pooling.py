"""Embeddings and chosen tokens against a simulation: however texts are cut, shared or interrupted, no jax."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sgl_jax.engine.config.pooling import Pooling
from sgl_jax.engine.core import EngineCore
from sgl_jax.engine.execution.fake import FakeExecutor, script_chosen, script_logprobs, script_outputs
from sgl_jax.engine.messages import EmbeddingParams, GenerateRequest
from sgl_jax.engine.plan import StepLimits
from sgl_jax.engine.sampling_params import SamplingParams

VOCAB, WIDTH = 50, 8


def make_core(pooling, *, num_pages=24, page_size=4, max_slots=4, max_tokens=16, max_chunk=8, window=None, **options):
    executor = FakeExecutor(
        num_pages=num_pages,
        page_size=page_size,
        max_slots=max_slots,
        max_pages_per_slot=num_pages,
        vocab_size=VOCAB,
        limits=StepLimits(max_tokens, max_chunk),
        window=window,
        hidden_size=WIDTH,
    )
    return EngineCore(executor, executor.info(pooling=pooling), **options)


def expected(text, pooling, dimensions, window):
    outputs = script_outputs(text, WIDTH, window=window).astype(np.float64)
    vector = {"last": outputs[-1], "cls": outputs[0], "mean": outputs.mean(axis=0)}[pooling.method][:dimensions]
    return vector / np.linalg.norm(vector) if pooling.normalize else vector


@settings(max_examples=60, deadline=None)
@given(
    pooling=st.builds(Pooling, method=st.sampled_from(["last", "mean", "cls"]), normalize=st.booleans()),
    texts=st.lists(
        st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=60), st.sampled_from([None, 1, WIDTH])),
        min_size=1,
        max_size=12,
    ),
    pauses=st.integers(0, 4),
    num_pages=st.integers(16, 40),
    page_size=st.sampled_from([4, 16]),
    max_slots=st.integers(1, 5),
    max_tokens=st.integers(6, 40),
    max_chunk=st.integers(1, 40),
    window=st.one_of(st.none(), st.integers(1, 40)),
    overlap=st.booleans(),
)
def test_embeddings_are_of_their_texts_alone(pooling, texts, pauses, **shape):
    core = make_core(pooling, **shape)
    found = {}
    for number, (text, dimensions) in enumerate(texts):
        params = EmbeddingParams(dimensions=dimensions)
        core.submit(GenerateRequest(request_id=str(number), prompt_ids=text, embedding=params))
        for _ in range(pauses):
            collect(core, found)
    while core.has_work():
        collect(core, found)
    for number, (text, dimensions) in enumerate(texts):
        delta = found[str(number)]
        assert (delta.finish.reason, delta.token_ids) == ("stop", [])
        wanted = expected(text, pooling, dimensions, shape["window"])
        np.testing.assert_allclose(np.frombuffer(delta.embedding, "<f4"), wanted, rtol=1e-6, atol=1e-6)
        assert pooling.method == "last" or not delta.cached_tokens
    stats = core.stats()
    assert (stats.pages_free, stats.running, stats.waiting) == (stats.pages_total, 0, 0)


def collect(core, found):
    outputs = core.step()
    core.check_integrity()
    for request_id, delta in zip(outputs.request_ids, outputs.deltas, strict=True):
        assert request_id not in found, "a request has one delta"
        found[request_id] = delta


def test_a_text_seen_before_is_served_from_the_cache_where_only_its_end_counts():
    for method, cached in (("last", 18), ("mean", 0), ("cls", 0)):
        core = make_core(Pooling(method=method))
        found = {}
        for number in range(2):
            core.submit(GenerateRequest(request_id=str(number), prompt_ids=[1] * 20, embedding=EmbeddingParams()))
            while core.has_work():
                collect(core, found)
        assert (found["0"].cached_tokens, found["1"].cached_tokens) == (0, cached)
        assert found["0"].embedding == found["1"].embedding


@settings(max_examples=30, deadline=None)
@given(
    requests=st.lists(
        st.tuples(
            st.lists(st.integers(0, 2), min_size=1, max_size=40),
            st.lists(st.integers(0, VOCAB - 1), max_size=3),
            st.booleans(),
        ),
        min_size=1,
        max_size=8,
    ),
    num_pages=st.integers(14, 24),
    max_tokens=st.integers(6, 40),
    max_chunk=st.integers(1, 40),
    overlap=st.booleans(),
)
def test_chosen_tokens_are_scored_at_every_position(requests, **shape):
    core = make_core(None, **shape)
    answers = {}
    for number, (prompt, chosen, of_prompt) in enumerate(requests):
        sampling = SamplingParams(
            max_new_tokens=5,
            logprobs=0,
            prompt_logprobs=0 if of_prompt else None,
            token_ids_logprob=tuple(chosen),
            seed=number,
        )
        core.submit(GenerateRequest(request_id=str(number), prompt_ids=prompt, sampling=sampling))
        answers[str(number)] = ([], [], [])
    while core.has_work():
        outputs = core.step()
        core.check_integrity()
        for request_id, delta in zip(outputs.request_ids, outputs.deltas, strict=True):
            token_ids, entries, of_prompt = answers[request_id]
            token_ids += delta.token_ids
            entries += delta.logprobs
            of_prompt += delta.prompt_logprobs
    for number, (prompt, chosen, asked) in enumerate(requests):
        token_ids, entries, of_prompt = answers[str(number)]
        whole = prompt + token_ids
        assert len(entries) == 5
        for position, entry in enumerate(entries, len(prompt)):
            assert entry.chosen == script_chosen(whole[:position], chosen)
        assert [entry.logprob for entry in of_prompt] == (script_logprobs(prompt) if asked else [])
        for position, entry in enumerate(of_prompt, 1):
            assert entry.chosen == script_chosen(prompt[:position], chosen)
