"""Our engine says what transformers says: the same greedy tokens, with the same log-probabilities.

The goldens keep only prompts whose winner leads by at least 0.002 at every step (tools/oracle.py),
so that a differing token is a mistake of ours and no matter of float noise.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgl_jax.engine.engine import Engine
from tests.parity.answers import answer

LOGPROB_TOLERANCE = 2e-4
"""A tenth of the smallest margin that the oracle accepts; in practice float32 differs by some 2e-5."""


def compare(cases: Sequence[dict[str, Any]], answers: Sequence[dict[str, Any]]) -> None:
    for case, found in zip(cases, answers, strict=True):
        assert found["token_ids"] == case["token_ids"], f"prompt of {len(case['prompt_ids'])} tokens"
        expected = [best[0] for best in case["top_logprobs"]]
        np.testing.assert_allclose(found["logprobs"], expected, rtol=0, atol=LOGPROB_TOLERANCE)
        if "completion" in case:
            assert found["text"] == case["completion"]


@pytest.fixture(scope="module")
def tiny_engine(tiny_folder: Path) -> Iterator[Engine]:
    options = {"dtype": "float32", "max_total_tokens": 1024, "max_running_requests": 4, "chunked_prefill_size": 64}
    with Engine(skip_warmup=True, model_path=str(tiny_folder), **options) as engine:
        yield engine


def test_tiny_models(tiny_engine: Engine, tiny_golden: dict[str, Any]) -> None:
    cases = tiny_golden["cases"]
    compare(cases, answer(tiny_engine, [case["prompt_ids"] for case in cases], len(cases[0]["token_ids"])))


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
