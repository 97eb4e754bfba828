"""How likely a prompt is itself: the same however it is computed, and only for those who ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sgl_jax.engine.engine import Engine
from sgl_jax.engine.errors import InvalidRequestError
from sgl_jax.engine.messages import TokenLogprobs
from sgl_jax.engine.sampling_params import SamplingParams

RANDOM = np.random.default_rng(0)
PROMPTS = [RANDOM.integers(3, 400, length).tolist() for length in (2, 40, 130, 17)]
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def engine(tiny_folder: Path) -> Iterator[Engine]:
    options = {"max_total_tokens": 512, "max_running_requests": 4, "chunked_prefill_size": 48}
    shapes = {"precompile_bs_paddings": (4,), "precompile_token_paddings": (48,)}
    with Engine(tiny_folder, device="cpu", dtype="float32", skip_warmup=True, **options, **shapes) as engine:
        yield engine


def only(num_top: int = 0, begin: int = 0) -> SamplingParams:
    return SamplingParams(max_new_tokens=0, prompt_logprobs=num_top, prompt_logprobs_from=begin)


def scores(engine: Engine, prompt: list[int], sampling: SamplingParams) -> list[TokenLogprobs]:
    return engine.generate(prompt_ids=[prompt], sampling=sampling)[0].prompt_logprobs


def values(entries: list[TokenLogprobs]) -> list[float]:
    return [entry.logprob for entry in entries]


def test_each_token_after_the_first_has_one(engine: Engine) -> None:
    for prompt in PROMPTS:
        found = values(scores(engine, prompt, only()))
        assert len(found) == len(prompt) - 1
        assert max(found) < 0


def test_they_are_what_the_model_says_of_its_own_answers(engine: Engine) -> None:
    drawn = SamplingParams(temperature=1.0, seed=5, max_new_tokens=60, ignore_eos=True, logprobs=3)
    (answer,) = engine.generate(prompt_ids=[PROMPTS[1]], sampling=drawn)
    found = scores(engine, PROMPTS[1] + answer.token_ids, only(3))[len(PROMPTS[1]) - 1 :]
    np.testing.assert_allclose(values(found), values(answer.logprobs), atol=TOLERANCE)
    for entry, said in zip(found, answer.logprobs, strict=True):
        assert [token for token, _ in entry.top] == [token for token, _ in said.top]
        np.testing.assert_allclose([p for _, p in entry.top], [p for _, p in said.top], atol=TOLERANCE)


def test_alone_together_and_beside_others_they_are_the_same(engine: Engine) -> None:
    alone = [values(scores(engine, prompt, only())) for prompt in PROMPTS]
    asking = SamplingParams(max_new_tokens=3, temperature=0, ignore_eos=True, prompt_logprobs=0)
    silent = SamplingParams(max_new_tokens=3, temperature=0, ignore_eos=True)
    beside = engine.generate(prompt_ids=PROMPTS * 2, sampling=[asking, silent, asking, silent] * 2)
    for number, found in enumerate(beside):
        asked = number % 2 == 0
        np.testing.assert_allclose(values(found.prompt_logprobs), alone[number % 4] if asked else [], atol=TOLERANCE)
    plain = engine.generate(prompt_ids=PROMPTS * 2, sampling=silent)
    assert [found.token_ids for found in beside] == [found.token_ids for found in plain]


def test_the_prefix_cache_serves_up_to_where_they_begin(engine: Engine) -> None:
    prompt = PROMPTS[2]
    whole = values(scores(engine, prompt, only()))
    (late,) = engine.generate(prompt_ids=[prompt], sampling=only(begin=100))
    assert late.cached_tokens == 99
    np.testing.assert_allclose(values(late.prompt_logprobs), whole[99:], atol=TOLERANCE)
    (again,) = engine.generate(prompt_ids=[prompt], sampling=only())
    assert again.cached_tokens == 0
    assert (
        engine.generate(prompt_ids=[prompt], sampling=SamplingParams(max_new_tokens=1))[0].cached_tokens
        == len(prompt) - 2
    )


@pytest.mark.parametrize(("prompt", "begin"), [([7], 0), (PROMPTS[0], 2), (PROMPTS[0], 99)])
def test_nothing_to_say(engine: Engine, prompt: list[int], begin: int) -> None:
    (found,) = engine.generate(prompt_ids=[prompt], sampling=only(begin=begin))
    assert (found.prompt_logprobs, found.token_ids, found.finish.reason) == ([], [], "length")
    asking = SamplingParams(max_new_tokens=1, prompt_logprobs=0, prompt_logprobs_from=begin)
    assert scores(engine, prompt, asking) == []


@pytest.mark.parametrize("field", [{"prompt_logprobs": 21}, {"prompt_logprobs": -1}, {"prompt_logprobs_from": -1}])
def test_out_of_range(engine: Engine, field: dict[str, int]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        scores(engine, PROMPTS[0], SamplingParams(**field))
    assert caught.value.param == next(iter(field))
