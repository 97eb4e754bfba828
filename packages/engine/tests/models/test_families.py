"""Families with windows, softcaps and norms of their own: the same tokens however the engine is set.

`test_engine.py` asks more of Llama, one setting at a time; here settings are combined, to stay cheap.
"""

from __future__ import annotations

import numpy as np
import pytest

from sgl_jax.engine.engine import Engine
from sgl_jax.engine.execution import build
from sgl_jax.engine.sampling_params import SamplingParams
from tools.tiny_model import make_tiny_model

BASE = {
    "dtype": "float32",
    "max_running_requests": 4,
    "max_total_tokens": 1024,
    "max_seq_len": 128,
    "chunked_prefill_size": 32,
    "precompile_bs_paddings": (4,),  # compiling is what a tiny model costs
    "precompile_token_paddings": (32,),
    "skip_warmup": True,
}
_RANDOM = np.random.default_rng(3)
# Windows are 24 tokens wide: prompts within one, across one, across several.
PROMPTS = [_RANDOM.integers(20, 400, length).tolist() for length in (1, 38, 20, 90)]
SAMPLING = [
    SamplingParams(temperature=0, max_new_tokens=30, ignore_eos=True, logprobs=0),
    SamplingParams(temperature=0.8, seed=7, max_new_tokens=20, ignore_eos=True),
    SamplingParams(temperature=1.0, seed=8, top_p=0.9, max_new_tokens=30, ignore_eos=True),
    SamplingParams(temperature=0, max_new_tokens=20, ignore_eos=True, logprobs=0),
]
FAMILIES = {
    "Qwen2ForCausalLM": {"use_sliding_window": True, "sliding_window": 24, "max_window_layers": 2},
    "Qwen3ForCausalLM": {},
    "MistralForCausalLM": {},
    "Gemma2ForCausalLM": {"tie": True},
    "Gemma3ForCausalLM": {"tie": True},
    "GptOssForCausalLM": {"num_hidden_layers": 2},
    "DeepseekV3ForCausalLM": {"num_hidden_layers": 2},
}


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory):
    options = {"num_hidden_layers": 3, **FAMILIES[request.param]}
    return make_tiny_model(tmp_path_factory.mktemp("family"), request.param, seed=1, **options)


@pytest.fixture(scope="module")
def engine(folder):
    with Engine(folder, **BASE) as engine:
        yield engine


@pytest.fixture(scope="module")
def alone(engine):
    """Each prompt by itself: what every other arrangement must reproduce."""
    return [
        engine.generate(prompt_ids=[ids], sampling=params)[0] for ids, params in zip(PROMPTS, SAMPLING, strict=True)
    ]


def assert_same(completions, expected):
    for completion, reference in zip(completions, expected, strict=True):
        assert completion.token_ids == reference.token_ids
        np.testing.assert_allclose(
            [entry.logprob for entry in completion.logprobs], [entry.logprob for entry in reference.logprobs], atol=1e-4
        )


def test_batched_with_and_without_a_prefix_hit(engine, alone):
    completions = engine.generate(prompt_ids=PROMPTS, sampling=SAMPLING)
    assert_same(completions, alone)
    assert [completion.cached_tokens for completion in completions] == [max(len(ids) - 2, 0) for ids in PROMPTS]


def test_everything_otherwise(folder, alone, request, monkeypatch):
    """Small chunks, pages of one token, requests put off and computed again, layers unrolled, no step in flight."""
    monkeypatch.setattr(build, "stacks_layers", lambda dtype, on_cpu: False)
    # Where all layers have a window, the pages behind it return: only a smaller pool runs out.
    tokens = 60 if "Mistral" in request.node.name else 110
    options = {"chunked_prefill_size": 16, "page_size": 1, "max_total_tokens": tokens, "disable_overlap_schedule": True}
    with Engine(folder, **{**BASE, **options}) as engine:
        assert_same(engine.generate(prompt_ids=PROMPTS, sampling=SAMPLING), alone)
        assert engine.stats().preempted_total > 0
