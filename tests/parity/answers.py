"""Our engine's greedy answers, as plain data. As a program: an order as JSON on stdin, answers on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from sgl_jax.engine.engine import Engine
from sgl_jax.engine.sampling_params import SamplingParams

NUM_TOKENS = 64


def answer(engine: Engine, prompts: Sequence[Sequence[int]], num_tokens: int) -> list[dict[str, Any]]:
    """Text, token ids and their log-probabilities for prompts that are generated together."""
    sampling = SamplingParams(
        temperature=0.0, max_new_tokens=num_tokens, logprobs=0, ignore_eos=True, skip_special_tokens=False
    )
    return [
        {
            "text": completion.text,
            "token_ids": completion.token_ids,
            "logprobs": [token.logprob for token in completion.logprobs],
        }
        for completion in engine.generate(prompt_ids=prompts, sampling=sampling)
    ]


def main() -> None:
    order = json.load(sys.stdin)
    options = {"dtype": "float32", "max_total_tokens": 2048, "max_running_requests": 8, "skip_warmup": True}
    shapes = {"precompile_bs_paddings": (1, 8), "precompile_token_paddings": (64, 256)}
    with Engine(order["model"], **options, **shapes) as engine:
        json.dump([answer(engine, batch, NUM_TOKENS) for batch in order["batches"]], sys.stdout)


if __name__ == "__main__":
    main()
