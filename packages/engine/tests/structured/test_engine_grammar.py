"""Structured output through the whole engine: answers keep to their grammar, neighbours say what they always say."""

from __future__ import annotations

import json
import re

import pytest

from sgl_jax.engine.engine import Engine
from sgl_jax.engine.errors import InvalidRequestError
from sgl_jax.engine.grammar import ANY_OBJECT, Grammar
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.engine.structured import compiler

SCHEMA = {
    "type": "object",
    "properties": {
        "colour": {"enum": ["red", "green", "blue"]},
        "sizes": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["colour", "sizes"],
    "additionalProperties": False,
}
COLOURS = Grammar(kind="json_schema", text=json.dumps(SCHEMA))
DATE = Grammar(kind="regex", text=r"[12][0-9]{3}-[01][0-9]")
FREE = SamplingParams(temperature=0, max_new_tokens=30, ignore_eos=True)
PROMPTS = [[30 + index, 40, 50] for index in range(6)]


def drawn(grammar: Grammar, seed: int, **options: object) -> SamplingParams:
    return SamplingParams(temperature=1.0, seed=seed, max_new_tokens=200, grammar=grammar, **options)


@pytest.fixture(scope="module")
def engine(tiny_folder):
    options = {"max_running_requests": 4, "max_total_tokens": 2048, "max_seq_len": 512, "chunked_prefill_size": 64}
    shapes = {"precompile_bs_paddings": (4,), "precompile_token_paddings": (64,)}
    with Engine(tiny_folder, dtype="float32", skip_warmup=True, **options, **shapes) as engine:
        yield engine


@pytest.fixture(scope="module")
def alone(engine):
    return engine.generate(prompt_ids=[PROMPTS[0]], sampling=FREE)[0]


def test_a_mixed_batch(engine, alone):
    samplings = [FREE, drawn(COLOURS, 1), drawn(DATE, 2), drawn(COLOURS, 3, top_p=0.9), FREE, drawn(DATE, 4)]
    prompts = [PROMPTS[0], *PROMPTS[1:4], PROMPTS[0], PROMPTS[5]]
    answers = engine.generate(prompt_ids=prompts, sampling=samplings)
    assert answers[0].token_ids == answers[4].token_ids == alone.token_ids
    for answer, sampling in zip(answers, samplings, strict=True):
        if sampling.grammar is COLOURS and answer.finish.reason == "stop":
            assert json.loads(answer.text)["colour"] in ("red", "green", "blue")
        if sampling.grammar is DATE:
            assert re.fullmatch(DATE.text, answer.text)
            assert answer.finish.reason == "stop"
    # The same again, each alone: what the batch holds makes no difference.
    for answer, sampling, prompt in list(zip(answers, samplings, prompts, strict=True))[1:4]:
        assert engine.generate(prompt_ids=[prompt], sampling=sampling)[0].token_ids == answer.token_ids


def test_forced_tokens_are_not_drawn_one_by_one(engine):
    fixed = Grammar(kind="regex", text="The answer to this question is (yes|no)!")
    before = engine.stats().steps_total
    answer = engine.generate(prompt_ids=[PROMPTS[0]], sampling=drawn(fixed, 1))[0]
    assert re.fullmatch(fixed.text, answer.text)
    assert engine.stats().steps_total - before < len(answer.token_ids)


def test_every_token_has_its_logprob(engine):
    answer = engine.generate(prompt_ids=[PROMPTS[0]], sampling=drawn(DATE, 1, logprobs=0))[0]
    assert re.fullmatch(DATE.text, answer.text)
    assert len(answer.logprobs) == len(answer.token_ids)


def test_penalties_and_a_grammar_together(engine):
    sampling = drawn(DATE, 1, frequency_penalty=2.0, logit_bias=dict.fromkeys(range(40), 100.0))
    assert re.fullmatch(DATE.text, engine.generate(prompt_ids=[PROMPTS[0]], sampling=sampling)[0].text)


def test_too_few_tokens_end_by_length(engine):
    sampling = SamplingParams(temperature=0, max_new_tokens=3, grammar=ANY_OBJECT)
    answer = engine.generate(prompt_ids=[PROMPTS[0]], sampling=sampling)[0]
    assert answer.finish.reason in ("length", "stop")
    assert answer.text.lstrip().startswith("{")


def test_a_refused_grammar_harms_nobody(engine, alone):
    with pytest.raises(InvalidRequestError, match="uniqueItems") as refusal:
        engine.generate(
            prompt_ids=[PROMPTS[0]], sampling=drawn(Grammar(kind="json_schema", text='{"uniqueItems": true}'), 1)
        )
    assert refusal.value.param == "grammar"
    assert engine.generate(prompt_ids=[PROMPTS[0]], sampling=FREE)[0].token_ids == alone.token_ids


def test_a_mistake_of_the_compiler_ends_one_request(engine, alone, monkeypatch):
    def translate(grammar: Grammar, special_tokens: dict[str, int]) -> str:
        raise TypeError("unforeseen")

    monkeypatch.setattr(compiler, "translate", translate)
    with pytest.raises(InvalidRequestError, match="TypeError: unforeseen"):
        engine.generate(prompt_ids=[PROMPTS[1]], sampling=drawn(Grammar(kind="regex", text="never compiled yet"), 1))
    assert engine.generate(prompt_ids=[PROMPTS[0]], sampling=FREE)[0].token_ids == alone.token_ids
