"""Writes what `transformers` thinks of the prompts of the tiny models' goldens: each token's log-probability.

Run it after `tools/oracle.py`, in the environment that it describes:

    ORACLE/bin/python -m tools.oracle_prompts            # all tiny models, or: tools.oracle_prompts gemma2
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from tools.oracle_models import load_folder
from tools.tiny_model import make_tiny_model, tiny_digest

GOLDENS = Path(__file__).parent.parent / "tests" / "parity" / "goldens"
DECIMALS = 5


def prompt_logprobs(model: Any, prompt_ids: list[int]) -> list[float]:
    """Of every token from the second one on."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt_ids])).logits[0, :-1].float()
    found = torch.log_softmax(logits, dim=-1).gather(1, torch.tensor(prompt_ids[1:])[:, None])[:, 0]
    return [round(value, DECIMALS) for value in found.tolist()]


def write(name: str) -> None:
    """One model, for the prompts of its golden."""
    golden = json.loads((GOLDENS / f"{name}.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        path = make_tiny_model(folder, **golden["model"]["arguments"])
        assert tiny_digest(path) == golden["model"]["digest"], f"{name}: run tools/oracle.py first"
        model = load_folder(path)
    rows = [prompt_logprobs(model, case["prompt_ids"]) for case in golden["cases"]]
    lines = ",\n".join(f" {json.dumps(row)}" for row in rows)
    (GOLDENS / "prompts").mkdir(exist_ok=True)
    (GOLDENS / "prompts" / f"{name}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"{name}: {[len(row) for row in rows]}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write golden log-probabilities of prompts, by transformers.")
    parser.add_argument("names", nargs="*", help="goldens of tiny models")
    tiny = sorted(path.stem for path in GOLDENS.glob("*.json") if not path.stem.startswith("smollm2"))
    for name in parser.parse_args().names or tiny:
        write(name)


if __name__ == "__main__":
    main()
