"""Writes what `transformers` makes of texts as vectors, and of yes-or-no questions, with tiny models.

Run it when a golden is added, in the environment that `tools/oracle.py` describes:

    ORACLE/bin/python -m tools.oracle_embeddings

Of each prompt: the last layer's output of the last token and the mean of all tokens', both brought to length 1 (as
sentence-transformers does), and how likely each of a few tokens is to follow, among all tokens and among those few.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from tools.oracle_cases import FAMILY_MODELS, TINY_MODELS
from tools.oracle_models import load_folder
from tools.tiny_model import make_tiny_model, tiny_digest

GOLDENS = Path(__file__).parent.parent / "tests" / "parity" / "goldens" / "embeddings"
NAMES = ("llama_gqa", "qwen3")
PROMPT_LENGTHS = (1, 20, 130)
LABELS = (5, 77)
DECIMALS = 6


def case(model: Any, prompt_ids: list[int]) -> dict[str, Any]:
    """What one prompt gives."""
    with torch.no_grad():
        found = model(torch.tensor([prompt_ids]), output_hidden_states=True)
    outputs = found.hidden_states[-1][0].float()  # transformers norms the last of them
    vectors = {"last": outputs[-1], "mean": outputs.mean(dim=0)}
    logits = found.logits[0, -1].float()
    labels = torch.tensor(LABELS)
    return {
        "prompt_ids": prompt_ids,
        **{name: rounded(torch.nn.functional.normalize(vector, dim=0)) for name, vector in vectors.items()},
        "labels": list(LABELS),
        "among_all": rounded(torch.softmax(logits, dim=-1)[labels]),
        "among_labels": rounded(torch.softmax(logits[labels], dim=-1)),
    }


def rounded(values: Any) -> list[float]:
    """A tensor as JSON has it."""
    return [round(value, DECIMALS) for value in values.tolist()]


def write(name: str) -> None:
    """One model."""
    arguments = {**TINY_MODELS, **FAMILY_MODELS}[name]
    with tempfile.TemporaryDirectory() as folder:
        path = make_tiny_model(folder, **arguments)
        model, digest = load_folder(path), tiny_digest(path)
    rows = []
    for length in PROMPT_LENGTHS:
        generator = torch.Generator().manual_seed(length)
        prompt_ids = torch.randint(3, model.config.vocab_size, (length,), generator=generator).tolist()
        rows.append(case(model, prompt_ids))
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    head = json.dumps({"arguments": arguments, "digest": digest})
    GOLDENS.mkdir(parents=True, exist_ok=True)
    text = f'{{\n "model": {head},\n "cases": [\n{lines}\n ]\n}}\n'
    (GOLDENS / f"{name}.json").write_text(text, encoding="utf-8")
    print(f"{name}: {[len(row['prompt_ids']) for row in rows]}")


if __name__ == "__main__":
    for each in NAMES:
        write(each)
