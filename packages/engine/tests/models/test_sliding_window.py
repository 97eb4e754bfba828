"""A model whose every layer has a window: pages behind it go to others, and the tokens stay the same."""

from __future__ import annotations

import numpy as np
import pytest

from sgl_jax.engine.engine import Engine
from sgl_jax.engine.sampling_params import SamplingParams
from tools.tiny_model import make_tiny_model

# The tiny model's window is 24 tokens; with chunks of 32 and pages of 16 one request needs 5 pages at most.
LIMIT = 1024
TIGHT = 6 * 16
BASE = {
    "dtype": "float32",
    "device": "cpu",
    "max_running_requests": 4,
    "max_seq_len": LIMIT,
    "chunked_prefill_size": 32,
    "precompile_bs_paddings": (4,),
    "precompile_token_paddings": (32,),
    "skip_warmup": True,
}
_RANDOM = np.random.default_rng(5)
PROMPTS = [_RANDOM.integers(20, 400, length).tolist() for length in (3, 60, 300, 130)]
SAMPLING = [
    SamplingParams(temperature=0, max_new_tokens=90, ignore_eos=True, logprobs=0),
    SamplingParams(temperature=0.8, seed=7, max_new_tokens=40, ignore_eos=True),
    SamplingParams(temperature=0, max_new_tokens=60, ignore_eos=True, logprobs=0),
    SamplingParams(temperature=1.0, seed=8, top_p=0.9, max_new_tokens=70, ignore_eos=True),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("mistral"), "MistralForCausalLM", seed=2)


@pytest.fixture(scope="module")
def roomy(folder):
    with Engine(folder, **BASE, max_total_tokens=4 * LIMIT) as engine:
        yield engine


@pytest.fixture(scope="module")
def tight(folder):
    with Engine(folder, **BASE, max_total_tokens=TIGHT) as engine:
        yield engine


@pytest.fixture(scope="module")
def alone(folder):
    """Each prompt by itself, with nothing cached, by the textbook's attention."""
    options = {"disable_radix_cache": True, "max_total_tokens": 512, "max_seq_len": 512}
    with Engine(folder, **{**BASE, **options}, attention_backend="reference") as engine:
        return [
            engine.generate(prompt_ids=[ids], sampling=params)[0] for ids, params in zip(PROMPTS, SAMPLING, strict=True)
        ]


def assert_same(completions, expected):
    for completion, reference in zip(completions, expected, strict=True):
        assert completion.token_ids == reference.token_ids
        np.testing.assert_allclose(
            [entry.logprob for entry in completion.logprobs], [entry.logprob for entry in reference.logprobs], atol=1e-4
        )


def test_batched_then_with_a_prefix_hit(roomy, alone):
    assert_same(roomy.generate(prompt_ids=PROMPTS, sampling=SAMPLING), alone)
    again = roomy.generate(prompt_ids=PROMPTS, sampling=SAMPLING)
    assert_same(again, alone)
    assert [completion.cached_tokens for completion in again] == [max(len(ids) - 2, 0) for ids in PROMPTS]
    assert roomy.stats().preempted_total == 0


def test_in_a_pool_far_smaller_than_the_sequence(tight, alone):
    assert tight.info.max_model_len == LIMIT
    for ids, params, expected in zip(PROMPTS, SAMPLING, alone, strict=True):
        assert_same(tight.generate(prompt_ids=[ids], sampling=params), [expected])
    assert tight.stats().preempted_total == 0


def test_batched_in_the_small_pool(tight, alone):
    assert_same(tight.generate(prompt_ids=PROMPTS, sampling=SAMPLING), alone)


def test_preempted(tight, roomy):
    # Each begins with one page and comes to hold three.
    prompts = [PROMPTS[2][begin : begin + 9] for begin in (0, 40, 80, 120)]
    expected = [
        roomy.generate(prompt_ids=[ids], sampling=params)[0] for ids, params in zip(prompts, SAMPLING, strict=True)
    ]
    assert_same(tight.generate(prompt_ids=prompts, sampling=SAMPLING), expected)
    assert tight.stats().preempted_total > 0


def test_the_next_turn_needs_the_last_window_only(tight, roomy):
    greedy = SamplingParams(temperature=0, max_new_tokens=150, ignore_eos=True)
    first = tight.generate(prompt_ids=[PROMPTS[2]], sampling=greedy)[0]
    turn = PROMPTS[2] + first.token_ids
    assert len(turn) > 4 * TIGHT
    second = tight.generate(prompt_ids=[[*turn, 5, 6, 7]], sampling=greedy)[0]
    assert second.cached_tokens == len(turn) - 1  # most of it on pages that are others' by now
    expected = roomy.generate(prompt_ids=[PROMPTS[2], [*turn, 5, 6, 7]], sampling=greedy)
    assert [first.token_ids, second.token_ids] == [completion.token_ids for completion in expected]


def test_models_with_a_layer_that_sees_all_keep_all(tmp_path):
    make_tiny_model(tmp_path, "Gemma2ForCausalLM", seed=2, tie=True)
    with Engine(tmp_path, **BASE, max_total_tokens=TIGHT) as engine:
        assert engine.info.max_model_len == TIGHT
