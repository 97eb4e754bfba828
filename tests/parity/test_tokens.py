"""Our engine says what transformers says: the same greedy tokens, with the same log-probabilities.

The goldens keep only prompts whose winner leads by at least 0.002 at every step (tools/oracle.py),
so that a differing token is a mistake of ours and no matter of float noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgl_jax.engine.engine import Engine
from sgl_jax.engine.sampling_params import SamplingParams

LOGPROB_TOLERANCE = 2e-4
"""A tenth of the smallest margin that the oracle accepts; in practice float32 differs by some 2e-5."""


def greedy(count: int) -> SamplingParams:
    return SamplingParams(temperature=0.0, max_new_tokens=count, logprobs=0, ignore_eos=True, skip_special_tokens=False)


def assert_same(engine: Engine, cases: Sequence[dict[str, Any]]) -> None:
    prompts = [case["prompt_ids"] for case in cases]
    completions = engine.generate(prompt_ids=prompts, sampling=greedy(len(cases[0]["token_ids"])))
    assert len(completions) == len(cases)
    for case, completion in zip(cases, completions, strict=True):
        assert completion.token_ids == case["token_ids"], f"prompt of {len(case['prompt_ids'])} tokens"
        expected = [best[0] for best in case["top_logprobs"]]
        found = [token.logprob for token in completion.logprobs]
        np.testing.assert_allclose(found, expected, rtol=0, atol=LOGPROB_TOLERANCE)
        if "completion" in case:
            assert completion.text == case["completion"]


@pytest.fixture(scope="module")
def tiny_engine(tiny_folder: Path) -> Iterator[Engine]:
    options = {"dtype": "float32", "max_total_tokens": 1024, "max_running_requests": 4, "skip_warmup": True}
    with Engine(model_path=str(tiny_folder), **options) as engine:
        yield engine


@pytest.fixture(scope="module")
def smollm2_engine(smollm2_path: Path) -> Iterator[Engine]:
    options = {"dtype": "float32", "max_total_tokens": 2048, "max_running_requests": 8, "skip_warmup": True}
    with Engine(model_path=str(smollm2_path), **options) as engine:
        yield engine


def test_tiny_models(tiny_engine: Engine, tiny_golden: dict[str, Any]) -> None:
    assert_same(tiny_engine, tiny_golden["cases"])


@pytest.mark.model
def test_smollm2_batched(smollm2_engine: Engine, smollm2_golden: dict[str, Any]) -> None:
    assert_same(smollm2_engine, smollm2_golden["cases"])


@pytest.mark.model
@pytest.mark.parametrize("number", [0, 6])
def test_smollm2_alone(smollm2_engine: Engine, smollm2_golden: dict[str, Any], number: int) -> None:
    assert_same(smollm2_engine, [smollm2_golden["cases"][number]])
