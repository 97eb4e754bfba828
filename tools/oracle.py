"""Writes the goldens in `tests/parity/goldens`: what transformers computes, in float32 on a CPU.

Run it when a golden is added, not in CI. It needs its own environment, outside the workspace:

    python3.11 -m venv ORACLE
    ORACLE/bin/pip install "torch==2.13.0" transformers gguf safetensors tokenizers ml_dtypes
    ORACLE/bin/python -m tools.oracle tiny                        # all tiny models, or: tiny llama_mha
    ORACLE/bin/python -m tools.oracle smollm2 SmolLM2.gguf
    ORACLE/bin/python -m tools.oracle tokenizer SmolLM2.gguf

A golden lists prompts with their greedy tokens and, at every step, the five likeliest tokens (tiny models: two) with
their log-probabilities. Only prompts where the winner leads by at least `MIN_MARGIN` at every step are kept, so that
float noise cannot flip a token: an engine that differs is wrong. What is asked stands in `oracle_cases.py`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from tools import oracle_cases as cases
from tools.oracle_models import Smollm2Tokenizer, Step, greedy, load_folder, load_llama_gguf
from tools.tiny_model import make_tiny_model, tiny_digest

GOLDENS = Path(__file__).parent.parent / "tests" / "parity" / "goldens"
MIN_MARGIN = 2e-3
"""Ten times and more what float32 sums in another order move a log-probability."""
NEW_TOKENS = 64
TINY_NEW_TOKENS = 32
TINY_TOP = 2
"""Likeliest tokens listed at each step: the winner and the next."""


def write_smollm2(path: Path) -> None:
    """Greedy text of the default model."""
    model, tokenizer = load_llama_gguf(path), Smollm2Tokenizer(path)
    kept: list[dict[str, Any]] = []
    for text in cases.SMOLLM2_PROMPTS:
        if len(kept) == cases.SMOLLM2_PROMPT_COUNT:
            break
        prompt_ids = tokenizer.encode(text)
        steps = _clear_steps(model, prompt_ids, NEW_TOKENS)
        if steps is not None:
            completion = tokenizer.decode([step.top_ids[0] for step in steps])
            kept.append({"text": text, "completion": completion, **_case(prompt_ids, steps)})
    assert len(kept) == cases.SMOLLM2_PROMPT_COUNT, f"only {len(kept)} prompts have clear winners; add candidates"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    _write_golden("smollm2", {"model": {"file": path.name, "sha256": digest}, "cases": kept})


def write_tokenizer(path: Path) -> None:
    """SmolLM2's token ids of awkward strings."""
    tokenizer = Smollm2Tokenizer(path)
    rows: list[dict[str, Any]] = [{"text": text, "ids": tokenizer.encode(text)} for text in cases.TOKENIZER_STRINGS]
    for row in rows:
        assert tokenizer.decode(row["ids"]) == row["text"], row
    _write("smollm2_tokenizer", {"model": {"file": path.name}}, rows)
    print(f"smollm2_tokenizer: {len(rows)} strings")


def write_tiny(name: str) -> None:
    """Greedy tokens of one seeded tiny model, for one random prompt of each length."""
    arguments = {**cases.TINY_MODELS, **cases.FAMILY_MODELS}[name]
    with tempfile.TemporaryDirectory() as folder:
        path = make_tiny_model(folder, **arguments)
        model = load_folder(path)
        digest = tiny_digest(path)
    kept: list[dict[str, Any]] = []
    for length in cases.OWN_PROMPT_LENGTHS.get(name, cases.PROMPT_LENGTHS):
        for attempt in range(cases.CANDIDATES_PER_LENGTH):
            generator = torch.Generator().manual_seed(1000 * length + attempt)
            # 0, 1 and 2 are special tokens: a prompt may hold them, but plain ones are what users send.
            prompt_ids = torch.randint(
                3, model.config.get_text_config().vocab_size, (length,), generator=generator
            ).tolist()
            steps = _clear_steps(model, prompt_ids, TINY_NEW_TOKENS)
            if steps is not None and len({step.top_ids[0] for step in steps}) >= TINY_NEW_TOKENS // 4:
                kept.append(_case(prompt_ids, steps, TINY_TOP))
                break
        else:
            raise SystemExit(f"{name}: no prompt of {length} tokens has clear winners; choose another seed")
    _write_golden(name, {"model": {"arguments": arguments, "digest": digest}, "cases": kept})


def _clear_steps(model: Any, prompt_ids: Sequence[int], count: int) -> list[Step] | None:
    try:
        steps = greedy(model, prompt_ids, count)
    except AssertionError as near_tie:
        print(f"  skipped: {near_tie}")
        return None
    smallest = min(step.margin for step in steps)
    if smallest < MIN_MARGIN:
        print(f"  skipped: smallest margin {smallest:.6f}")
        return None
    return steps


def _case(prompt_ids: Sequence[int], steps: Sequence[Step], top: int | None = None) -> dict[str, Any]:
    return {
        "min_margin": round(min(step.margin for step in steps), 6),
        "prompt_ids": list(prompt_ids),
        "token_ids": [step.top_ids[0] for step in steps],
        "top_ids": [step.top_ids[:top] for step in steps],
        "top_logprobs": [step.top_logprobs[:top] for step in steps],
    }


def _write_golden(name: str, golden: dict[str, Any]) -> None:
    rows = golden.pop("cases")
    margin = min(row["min_margin"] for row in rows)
    oracle = {"torch": torch.__version__, "transformers": transformers.__version__, "dtype": "float32"}
    _write(name, {**golden, "oracle": oracle, "min_margin": margin}, rows)
    lengths = [len(row["prompt_ids"]) for row in rows]
    distinct = [len(set(row["token_ids"])) for row in rows]
    print(f"{name}: prompt lengths {lengths}, distinct tokens {distinct}, smallest margin {margin}")


def _write(name: str, head: dict[str, Any], rows: Iterable[dict[str, Any]]) -> None:
    # One line a field, so that a diff shows which case changed and files stay short.
    blocks = (",\n".join(f"   {json.dumps(key)}: {json.dumps(value)}" for key, value in row.items()) for row in rows)
    body = ",\n".join(f"  {{\n{block}\n  }}" for block in blocks)
    fields = "".join(f" {json.dumps(k)}: {json.dumps(v)},\n" for k, v in head.items())
    GOLDENS.mkdir(parents=True, exist_ok=True)
    (GOLDENS / f"{name}.json").write_text(f'{{\n{fields} "cases": [\n{body}\n ]\n}}\n', encoding="utf-8")


def main() -> None:
    """The command line."""
    tiny_names = [*cases.TINY_MODELS, *cases.FAMILY_MODELS]
    parser = argparse.ArgumentParser(description="Write golden outputs computed by transformers.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("tiny").add_argument("names", nargs="*", help=", ".join(tiny_names))
    for command in ("smollm2", "tokenizer"):
        commands.add_parser(command).add_argument("gguf", type=Path)
    options = parser.parse_args()
    if options.command == "tiny":
        for name in options.names or tiny_names:
            write_tiny(name)
    elif options.command == "smollm2":
        write_smollm2(options.gguf)
    else:
        write_tokenizer(options.gguf)


if __name__ == "__main__":
    main()
