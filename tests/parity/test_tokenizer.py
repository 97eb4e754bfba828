"""The tokenizer built from SmolLM2's GGUF file agrees with the model's published one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sgl_jax.engine.text.tokenizer import Tokenizer

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def tokenizer(smollm2_path: Path) -> Tokenizer:
    return Tokenizer.from_path(smollm2_path)


def test_awkward_strings(tokenizer: Tokenizer, tokenizer_golden: dict[str, Any]) -> None:
    found = {case["text"]: tokenizer.encode(case["text"]) for case in tokenizer_golden["cases"]}
    assert found == {case["text"]: case["ids"] for case in tokenizer_golden["cases"]}


def test_awkward_strings_come_back(tokenizer: Tokenizer, tokenizer_golden: dict[str, Any]) -> None:
    for case in tokenizer_golden["cases"]:
        assert tokenizer.decode(case["ids"], skip_special_tokens=False) == case["text"]


def test_prompts_and_completions(tokenizer: Tokenizer, smollm2_golden: dict[str, Any]) -> None:
    for case in smollm2_golden["cases"]:
        assert tokenizer.encode(case["text"]) == case["prompt_ids"]
        assert tokenizer.decode(case["token_ids"], skip_special_tokens=False) == case["completion"]
