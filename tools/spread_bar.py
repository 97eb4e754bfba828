"""Tiny models on one device and on several must draw the same tokens: `uv run python -m tools.spread_bar`.

The devices are forced ones of the CPU, in this process. Each model answers prompts that are computed in chunks, alone
and then together with a prefix from the cache, greedily and by a seed with penalties; log-probabilities of answers and
prompts must agree too. Without arguments that is the whole grid; CI runs a few `ARCHITECTURE:SIZE` of it
(`packages/engine/tests/parallel/test_tokens.py`).
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tools.tiny_model import make_tiny_model
from tools.tiny_model_architectures import VOCAB_SIZE

MOST_DEVICES = 8
SIZES = (2, 4, 8)
MODELS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", {"num_key_value_heads": 4}, {}),
    "llama-tied": ("LlamaForCausalLM", {"tie": True, "num_key_value_heads": 1}, {}),
    "llama-odd-vocabulary": ("LlamaForCausalLM", {"vocab_size": VOCAB_SIZE + 5}, {}),
    "llama-unrolled": ("LlamaForCausalLM", {}, {"dtype": "bfloat16"}),
    "llama-int8": ("LlamaForCausalLM", {"intermediate_size": 256}, {"quantization": "int8"}),
    "llama-int4": ("LlamaForCausalLM", {"intermediate_size": 256, "head_dim": 32}, {"quantization": "int4"}),
    "qwen3": ("Qwen3ForCausalLM", {}, {}),
    "qwen3-int8-cache": ("Qwen3ForCausalLM", {}, {"kv_cache_dtype": "int8"}),
    "qwen3-moe": ("Qwen3MoeForCausalLM", {}, {}),
    "qwen2-moe": ("Qwen2MoeForCausalLM", {}, {}),
    "gpt-oss": ("GptOssForCausalLM", {}, {}),
    "deepseek-v3": ("DeepseekV3ForCausalLM", {"first_k_dense_replace": 0}, {}),
    "deepseek-v3-mixed": ("DeepseekV3ForCausalLM", {}, {}),
    # The tiny model's own bound makes many tokens equally likely, to the last bit.
    "gemma2": ("Gemma2ForCausalLM", {"final_logit_softcapping": 300.0}, {}),
    "olmo2": ("Olmo2ForCausalLM", {}, {}),
    "phi3": ("Phi3ForCausalLM", {}, {}),
}
"""Name -> architecture, what its config has besides 8 heads in 2 layers, and the engine's options."""
LONG = [(7 * place + 3) % 500 for place in range(40)]
PROMPTS = [LONG, [*LONG[:33], 5, 6, 7], [9, 8, 7]]
TOLERANCE = 2e-4
"""Of log-probabilities in float32."""
ROUNDED_TOLERANCE = 0.1
"""Where activations or the cache are rounded, sums in another order round otherwise; tokens may then differ."""


class Answers(NamedTuple):
    """What an engine says: tokens, their log-probabilities where they were asked for, and those of the prompts."""

    tokens: list[list[int]]
    logprobs: list[float]
    of_prompts: list[float]


def ask(folder: Path, size: int, options: dict[str, Any], *, scores: bool) -> Answers:
    """Starts an engine on so many devices and asks it everything."""
    from sgl_jax.engine.engine import Engine
    from sgl_jax.engine.sampling_params import SamplingParams

    shapes: dict[str, Any] = {"precompile_bs_paddings": (4,), "precompile_token_paddings": (16,), "page_size": 8}
    small: dict[str, Any] = {"max_running_requests": 4, "max_total_tokens": 512, "chunked_prefill_size": 16}
    devices: dict[str, Any] = {"device": "cpu", "tp_size": size, "cpu_kernels": "xla", "skip_warmup": True}
    greedy: dict[str, Any] = {"max_new_tokens": 8, "ignore_eos": True, "temperature": 0.0}
    drawn = {**greedy, "temperature": 1.0, "seed": 7, "repetition_penalty": 1.2, "logprobs": 2}
    with Engine(str(folder), **{"dtype": "float32", **devices, **shapes, **small, **options}) as engine:
        found = engine.generate(prompt_ids=PROMPTS[:1], sampling=SamplingParams(**greedy))
        found += engine.generate(prompt_ids=PROMPTS, sampling=SamplingParams(**greedy))
        assert engine.stats().cached_tokens_total > 0
        found += engine.generate(prompt_ids=PROMPTS, sampling=SamplingParams(**drawn))
        logprobs = [token.logprob for completion in found for token in completion.logprobs]
        scoring = SamplingParams(max_new_tokens=0, prompt_logprobs=2)
        scored = engine.generate(prompt_ids=PROMPTS, sampling=scoring) if scores else []
        of_prompts = [entry.logprob for completion in scored for entry in completion.prompt_logprobs]
    return Answers([completion.token_ids for completion in found], logprobs, of_prompts)


def largest(found: Sequence[float], expected: Sequence[float]) -> float:
    """The largest distance of two log-probabilities."""
    return max((abs(one - other) for one, other in zip(found, expected, strict=True)), default=0.0)


def compare(name: str, sizes: Sequence[int], folder: Path, *, scores: bool) -> bool:
    """Prints a line for each size; whether all of them agree with one device."""
    architecture, fields, options = MODELS[name]
    make_tiny_model(folder, architecture, seed=3, **{"num_hidden_layers": 2, "num_attention_heads": 8, **fields})
    reference = ask(folder, 1, options, scores=scores)
    is_rounded = not options.keys().isdisjoint({"dtype", "kv_cache_dtype"})
    agrees = True
    for size in sizes:
        started = time.perf_counter()
        found = ask(folder, size, options, scores=scores)
        same = sum(one == other for one, other in zip(found.tokens, reference.tokens, strict=True))
        distance = largest(found.of_prompts, reference.of_prompts)
        if not is_rounded:
            distance = max(distance, largest(found.logprobs, reference.logprobs))
        fits = distance <= (ROUNDED_TOLERANCE if is_rounded else TOLERANCE)
        fits &= is_rounded or same == len(found.tokens)
        agrees &= fits
        print(
            f"{'ok' if fits else 'DIFFERS':8}{name:22}on {size}: {same} of {len(found.tokens)} answers the same, "
            f"log-probabilities within {distance:.0e}, {time.perf_counter() - started:.1f} s",
            flush=True,
        )
    return agrees


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the cases; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="MODEL[:SIZE]", help=f"of {', '.join(MODELS)}; default: all")
    parser.add_argument("--brief", action="store_true", help="compile less: do not score the prompts")
    arguments = parser.parse_args(argv)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={MOST_DEVICES}".strip()
    chosen = [case.partition(":")[::2] for case in arguments.cases] or [(name, "") for name in MODELS]
    agrees = True
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, size) in zip(itertools.count(), chosen):
            sizes = [int(size)] if size else SIZES
            agrees &= compare(name, sizes, Path(folder) / str(number), scores=not arguments.brief)
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
