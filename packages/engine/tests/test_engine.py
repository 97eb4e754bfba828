"""The offline engine on a tiny model: whatever the batch, the chunks, the pages or the pool, the same tokens."""

from __future__ import annotations

import numpy as np
import pytest

from sgl_jax.engine.engine import Engine
from sgl_jax.engine.errors import InvalidRequestError, ModelLoadError
from sgl_jax.engine.execution import build
from sgl_jax.engine.sampling_params import SamplingParams

BASE = {
    "dtype": "float32",
    "max_running_requests": 4,
    "max_total_tokens": 2048,
    "max_seq_len": 512,
    "chunked_prefill_size": 64,
    "precompile_bs_paddings": (1, 4),
    "precompile_token_paddings": (64,),
    "skip_warmup": True,
}
_RANDOM = np.random.default_rng(0)
PROMPTS = [_RANDOM.integers(20, 400, length).tolist() for length in (1, 5, 17, 40, 130, 3)]
ADJUSTED = {
    "frequency_penalty": 0.3,
    "presence_penalty": -0.2,
    "repetition_penalty": 1.4,
    "logit_bias": dict.fromkeys(range(30, 60), 1.5),
    "min_new_tokens": 18,
    "stop_token_ids": tuple(range(200, 232)),
}
SAMPLING = [
    SamplingParams(temperature=0, max_new_tokens=24, ignore_eos=True, logprobs=2),
    SamplingParams(temperature=0.9, seed=7, max_new_tokens=20, ignore_eos=True),
    SamplingParams(temperature=1.3, seed=8, top_k=20, top_p=0.9, max_new_tokens=24, ignore_eos=True),
    SamplingParams(temperature=0, max_new_tokens=20, ignore_eos=True, **ADJUSTED),
    SamplingParams(temperature=0.7, seed=9, min_p=0.05, max_new_tokens=20, logprobs=1, **ADJUSTED),
    SamplingParams(temperature=1.0, seed=-3, top_p=0.5, max_new_tokens=24, ignore_eos=True, logprobs=0),
]


@pytest.fixture(scope="module")
def engine(tiny_folder):
    with Engine(tiny_folder, **BASE) as engine:
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
        assert completion.text == reference.text
        np.testing.assert_allclose(
            [entry.logprob for entry in completion.logprobs], [entry.logprob for entry in reference.logprobs], atol=1e-4
        )


def test_batched(engine, alone):
    assert_same(engine.generate(prompt_ids=PROMPTS, sampling=SAMPLING), alone)


def test_prefix_hit(engine, alone):
    again = engine.generate(prompt_ids=PROMPTS, sampling=SAMPLING)
    assert_same(again, alone)
    # All but the last two tokens: of the page that they share with these, a copy.
    assert [completion.cached_tokens for completion in again] == [max(len(ids) - 2, 0) for ids in PROMPTS]


def test_an_answer_is_cached_too(engine):
    greedy = SamplingParams(temperature=0, max_new_tokens=40, ignore_eos=True)
    first = engine.generate(prompt_ids=[PROMPTS[2]], sampling=greedy)[0]
    turn = PROMPTS[2] + first.token_ids
    second = engine.generate(prompt_ids=[[*turn, 5, 6, 7]], sampling=greedy)[0]
    assert second.cached_tokens == len(turn) - 1  # the last drawn token was never fed


def test_siblings_share_their_prompt_in_flight(engine):
    ids = np.random.default_rng(11).integers(20, 400, 100).tolist()
    greedy = SamplingParams(temperature=0, max_new_tokens=4, ignore_eos=True)
    siblings = engine.generate(prompt_ids=[ids] * 4, sampling=greedy)
    assert len({tuple(sibling.token_ids) for sibling in siblings}) == 1
    assert sorted(sibling.cached_tokens for sibling in siblings)[0] == 0
    assert sum(sibling.cached_tokens > 0 for sibling in siblings) == 3


def test_disabled_cache_saves_nothing(tiny_folder, alone):
    with Engine(tiny_folder, **{**BASE, "disable_radix_cache": True}) as engine:
        for _ in range(2):
            completions = engine.generate(prompt_ids=PROMPTS, sampling=SAMPLING)
            assert_same(completions, alone)
            assert not any(completion.cached_tokens for completion in completions)
        assert engine.stats().pages_cached == 0


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"chunked_prefill_size": 16}, id="chunks of 16"),
        pytest.param({"page_size": 1}, id="pages of 1"),
        pytest.param({"disable_overlap_schedule": True}, id="no overlap"),
        pytest.param({"attention_backend": "reference"}, id="reference attention"),
    ],
)
def test_the_same_tokens_however_the_engine_is_set(tiny_folder, alone, options):
    with Engine(tiny_folder, **{**BASE, **options}) as engine:
        assert_same(engine.generate(prompt_ids=PROMPTS, sampling=SAMPLING), alone)


def test_preempted(tiny_folder, alone):
    with Engine(tiny_folder, **{**BASE, "max_total_tokens": 160}) as engine:
        assert_same(engine.generate(prompt_ids=PROMPTS, sampling=SAMPLING), alone)
        assert engine.stats().preempted_total > 0


def test_unrolled_layers(tiny_folder, alone, monkeypatch):
    monkeypatch.setattr(build, "stacks_layers", lambda dtype, on_cpu: False)
    with Engine(tiny_folder, **BASE) as engine:
        assert_same(engine.generate(prompt_ids=PROMPTS, sampling=SAMPLING), alone)


def test_a_prompt_of_many_chunks_and_pages(engine, tiny_folder, alone):
    # Pages beyond what one packed plan can carry travel by themselves.
    ids = np.random.default_rng(5).integers(20, 400, 480).tolist()
    greedy = SamplingParams(temperature=0, max_new_tokens=8, ignore_eos=True)
    expected = engine.generate(prompt_ids=[ids], sampling=greedy)
    with Engine(tiny_folder, **{**BASE, "page_size": 1, "chunked_prefill_size": 16}) as other:
        assert_same(other.generate(prompt_ids=[ids], sampling=greedy), expected)


def test_bfloat16_runs(tiny_folder):
    with Engine(tiny_folder, **{**BASE, "dtype": "bfloat16"}) as engine:
        completion = engine.generate(prompt_ids=[PROMPTS[2]], sampling=SAMPLING[0])[0]
        assert len(completion.token_ids) == 24
        assert all(entry.logprob <= 0 and len(entry.top) == 2 for entry in completion.logprobs)


def test_greedy_logprobs_lead_the_top(engine):
    completion = engine.generate(prompt_ids=[PROMPTS[1]], sampling=SAMPLING[0])[0]
    for token, entry in zip(completion.token_ids, completion.logprobs, strict=True):
        assert entry.top[0] == (token, pytest.approx(entry.logprob))


def test_stream_equals_generate(engine):
    params = SamplingParams(temperature=0, max_new_tokens=30, ignore_eos=True)
    chunks = list(engine.stream("The quick brown fox", params))
    whole = engine.generate("The quick brown fox", params)[0]
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert [token for chunk in chunks for token in chunk.token_ids] == whole.token_ids
    assert chunks[-1].finish == whole.finish


def test_leaving_a_stream_frees_the_slot(engine):
    for _ in engine.stream("a b c", SamplingParams(temperature=0, max_new_tokens=200, ignore_eos=True)):
        break
    stats = engine.stats()
    assert (stats.running, stats.waiting, stats.pages_free) == (0, 0, stats.pages_total)


def test_stop_strings_and_stop_tokens(engine):
    free = engine.generate(prompt_ids=[PROMPTS[2]], sampling=SamplingParams(temperature=0, max_new_tokens=24))[0]
    word = free.text[3:6]
    assert word
    cut = engine.generate(
        prompt_ids=[PROMPTS[2]], sampling=SamplingParams(temperature=0, max_new_tokens=24, stop=(word,))
    )[0]
    assert cut.text == free.text[: free.text.index(word)]
    assert (cut.finish.reason, cut.finish.matched) == ("stop", word)
    token = free.token_ids[4]
    ended = engine.generate(
        prompt_ids=[PROMPTS[2]], sampling=SamplingParams(temperature=0, max_new_tokens=24, stop_token_ids=(token,))
    )[0]
    assert ended.token_ids == free.token_ids[: free.token_ids.index(token) + 1]
    assert (ended.finish.reason, ended.finish.matched) == ("stop", token)


def test_no_token_twice_under_a_harsh_repetition_penalty(engine):
    harsh = SamplingParams(temperature=0, max_new_tokens=60, ignore_eos=True, repetition_penalty=1e4)
    completions = engine.generate(prompt_ids=PROMPTS, sampling=harsh)
    for ids, completion in zip(PROMPTS, completions, strict=True):
        assert len(set(completion.token_ids)) == 60
        assert not set(completion.token_ids) & set(ids)


def test_bias_decides_and_leaves_the_logprobs_as_they_are(engine, alone):
    free = alone[0]
    forced = SamplingParams(
        temperature=0, max_new_tokens=8, ignore_eos=True, logprobs=2, logit_bias={300: 100, free.token_ids[0]: -100}
    )
    completion = engine.generate(prompt_ids=[PROMPTS[0]], sampling=forced)[0]
    assert completion.token_ids == [300] * 8
    assert completion.logprobs[0].top == [
        (token, pytest.approx(value, abs=1e-4)) for token, value in free.logprobs[0].top
    ]
    assert completion.logprobs[0].logprob < -1


def test_nothing_ends_an_answer_before_its_minimum_length(engine):
    free = SamplingParams(temperature=0, max_new_tokens=24, ignore_eos=True)
    completion = engine.generate(prompt_ids=[PROMPTS[2]], sampling=free)[0]
    stop = completion.token_ids[4]
    params = SamplingParams(
        temperature=0, max_new_tokens=24, stop_token_ids=(stop,), min_new_tokens=12, logit_bias={stop: 100}
    )
    ended = engine.generate(prompt_ids=[PROMPTS[2]], sampling=params)[0]
    assert stop not in ended.token_ids[:12]
    assert ended.token_ids[12:] == [stop]
    assert (ended.finish.reason, ended.finish.matched) == ("stop", stop)


def test_chat_uses_the_template(engine):
    messages = [{"role": "user", "content": "Hello"}]
    params = SamplingParams(temperature=0, max_new_tokens=5, ignore_eos=True)
    rendered = engine.render(messages)
    answer = engine.chat(messages, params)
    assert answer.prompt_tokens == len(rendered)
    assert answer.text == engine.generate(prompt_ids=[rendered], sampling=params)[0].text


@pytest.mark.parametrize(
    ("ids", "params", "param"),
    [
        ([], {}, "prompt"),
        ([10**6], {}, "prompt"),
        ([-1], {}, "prompt"),
        ([5] * 512, {}, "prompt"),
        ([5], {"max_new_tokens": 512}, "max_new_tokens"),
        ([5], {"temperature": -1.0}, "temperature"),
        ([5], {"temperature": float("nan")}, "temperature"),
        ([5], {"top_p": 0.0}, "top_p"),
        ([5], {"stop_token_ids": (10**6,)}, "stop_token_ids"),
        ([5], {"frequency_penalty": 2.1}, "frequency_penalty"),
        ([5], {"presence_penalty": float("nan")}, "presence_penalty"),
        ([5], {"repetition_penalty": 0.0}, "repetition_penalty"),
        ([5], {"min_new_tokens": 9, "max_new_tokens": 8}, "min_new_tokens"),
        ([5], {"min_new_tokens": 10**30}, "min_new_tokens"),
        ([5], {"logit_bias": {10**6: 1.0}}, "logit_bias"),
        ([5], {"logit_bias": {5: -101.0}}, "logit_bias"),
        ([5], {"logit_bias": dict.fromkeys(range(385), 1.0)}, "logit_bias"),
    ],
)
def test_refusals_name_the_parameter_and_harm_nobody(engine, alone, ids, params, param):
    with pytest.raises(InvalidRequestError) as refusal:
        engine.generate(prompt_ids=[PROMPTS[0], ids], sampling=[SAMPLING[0], SamplingParams(**params)])
    assert refusal.value.param == param
    assert_same(engine.generate(prompt_ids=[PROMPTS[0]], sampling=SAMPLING[0]), alone[:1])


def test_no_new_tokens_means_none(engine):
    completion = engine.generate(prompt_ids=[PROMPTS[1]], sampling=SamplingParams(max_new_tokens=0))[0]
    assert (completion.token_ids, completion.text, completion.finish.reason) == ([], "", "length")


def test_a_missing_model_says_so(tmp_path):
    with pytest.raises(ModelLoadError, match="does not exist"):
        Engine(tmp_path / "nothing")


def test_token_ids_are_no_texts(engine):
    with pytest.raises(InvalidRequestError, match="give token ids as prompt_ids"):
        engine.generate([PROMPTS[0]])
