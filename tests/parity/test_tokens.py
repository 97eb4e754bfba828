"""Our engine says what transformers says: the same greedy tokens, with the same log-probabilities.

The goldens keep only prompts whose winner leads by at least 0.002 at every step (tools/oracle.py),
so that a differing token is a mistake of ours and no matter of float noise.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgl_jax.engine.engine import Engine
from sgl_jax.engine.sampling_params import SamplingParams
from tests.parity.answers import answer
from tests.parity.conftest import read_golden

RecordProperty = Callable[[str, object], None]
"""What a test tells of itself; `tests/parity/table.py` prints it at the end of the run."""

LOGPROB_TOLERANCE = 2e-4
"""A tenth of the smallest margin that the oracle accepts; in practice float32 differs by some 2e-5."""

PROMPT_TOLERANCE = 1e-3
"""A prompt is not chosen for being clear: among its tokens are unlikely ones, whose logits differ most."""


def compare(cases: Sequence[dict[str, Any]], answers: Sequence[dict[str, Any]]) -> float:
    """Tokens are equal and log-probabilities close; returns their largest distance."""
    largest = 0.0
    for case, found in zip(cases, answers, strict=True):
        assert found["token_ids"] == case["token_ids"], f"prompt of {len(case['prompt_ids'])} tokens"
        expected = [best[0] for best in case["top_logprobs"]]
        largest = max(largest, compare_logprobs(found["logprobs"], expected, LOGPROB_TOLERANCE))
        if "completion" in case:
            assert found["text"] == case["completion"]
    return largest


def compare_logprobs(found: list[float], expected: list[float], tolerance: float) -> float:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    return float(np.max(np.abs(np.subtract(found, expected)), initial=0.0))


@pytest.fixture(scope="module")
def tiny_engine(tiny_folder: Path) -> Iterator[Engine]:
    # One shape for all prompts and one for all decoding: compiling is what a tiny model costs.
    options = {"max_running_requests": 4, "chunked_prefill_size": 128, "max_total_tokens": 1024}
    shapes = {"precompile_bs_paddings": (4,), "precompile_token_paddings": (128,)}
    with Engine(str(tiny_folder), dtype="float32", skip_warmup=True, **options, **shapes) as engine:
        yield engine


def test_tiny_models(
    tiny_engine: Engine, tiny_name: str, tiny_golden: dict[str, Any], record_property: RecordProperty
) -> None:
    """The longest prompt alone; all together, with much of the longest cached; the shorter ones alone."""
    cases = tiny_golden["cases"]
    row: dict[str, object] = {"golden": tiny_name, "prompts": [len(case["prompt_ids"]) for case in cases]}
    for way, asked, cached in (("alone", cases[-1:], 0), ("batched, prefix hit", cases, 1), ("again", cases[:-1], 0)):
        before = tiny_engine.stats().cached_tokens_total
        found = answer(tiny_engine, [case["prompt_ids"] for case in asked], len(cases[0]["token_ids"]))
        row[way] = compare(asked, found)
        assert tiny_engine.stats().cached_tokens_total - before >= cached
    record_property("parity", row)


def test_prompts_of_tiny_models(
    tiny_engine: Engine, tiny_name: str, tiny_golden: dict[str, Any], record_property: RecordProperty
) -> None:
    """How likely the prompts are themselves: all together, then the longest alone with a part of it cached."""
    prompts = [case["prompt_ids"] for case in tiny_golden["cases"]]
    expected = read_golden(f"prompts/{tiny_name}")
    sampling = SamplingParams(max_new_tokens=0, prompt_logprobs=0)
    largest = 0.0
    for found, logprobs in zip(tiny_engine.generate(prompt_ids=prompts, sampling=sampling), expected, strict=True):
        assert found.token_ids == []
        own = [entry.logprob for entry in found.prompt_logprobs]
        largest = max(largest, compare_logprobs(own, logprobs, PROMPT_TOLERANCE))
    begin = len(prompts[-1]) // 2
    late = SamplingParams(max_new_tokens=1, prompt_logprobs=0, prompt_logprobs_from=begin)
    (found,) = tiny_engine.generate(prompt_ids=prompts[-1:], sampling=late)
    assert len(found.token_ids) == 1
    own = [entry.logprob for entry in found.prompt_logprobs]
    compare_logprobs(own, expected[-1][begin - 1 :], PROMPT_TOLERANCE)
    record_property("parity", {"golden": tiny_name, "prompt log-probs": largest})


@pytest.mark.model
def test_smollm2(smollm2_path: Path, smollm2_golden: dict[str, Any]) -> None:
    """Eight prompts together, then two of them alone, in a process that compiles as users' processes do."""
    cases = smollm2_golden["cases"]
    batches = [list(range(len(cases))), [0], [6]]
    prompts = [[cases[number]["prompt_ids"] for number in batch] for batch in batches]
    order = json.dumps({"model": str(smollm2_path), "batches": prompts})
    environ = {**os.environ, "XLA_FLAGS": ""}  # not the suite's unoptimised code
    program = [sys.executable, str(Path(__file__).parent / "answers.py")]
    finished = subprocess.run(program, input=order, env=environ, capture_output=True, text=True, timeout=280)
    assert finished.returncode == 0, finished.stderr
    for batch, answers in zip(batches, json.loads(finished.stdout), strict=True):
        compare([cases[number] for number in batch], answers)
