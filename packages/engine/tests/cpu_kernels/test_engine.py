"""An engine on native kernels says what one on plain XLA says."""

from __future__ import annotations

import pytest

from sgl_jax.engine.engine import Engine
from sgl_jax.engine.sampling_params import SamplingParams

OPTIONS = {
    "device": "cpu",
    "max_running_requests": 4,
    "chunked_prefill_size": 32,
    "max_total_tokens": 256,
    "precompile_bs_paddings": (4,),
    "precompile_token_paddings": (32,),
    "skip_warmup": True,
}
PROMPTS = [[5, 17, 90, 3], [44] * 9, [7]]
GREEDY = SamplingParams(temperature=0, max_new_tokens=12, ignore_eos=True)


def tokens(folder, **options):
    with Engine(str(folder), **OPTIONS, **options) as engine:
        together = [completion.token_ids for completion in engine.generate(prompt_ids=PROMPTS, sampling=GREEDY)]
        alone = engine.generate(prompt_ids=PROMPTS[:1], sampling=GREEDY)[0].token_ids
        return engine.info.summary, together, alone


@pytest.mark.parametrize("quantization", ["none", "int4"])
def test_tokens_are_those_of_plain_xla(kernels, tiny_folder, quantization):
    options = {"dtype": "float32", "quantization": quantization}
    summary, native, alone = tokens(tiny_folder, cpu_kernels="native", cpu_threads=2, **options)
    assert summary["CPU kernels"] == f"native, {kernels.isa}, 2 threads"
    plain_summary, plain, _ = tokens(tiny_folder, cpu_kernels="xla", **options)
    assert plain_summary["CPU kernels"] == "none: plain XLA"
    assert native == plain
    assert alone == native[0]


def test_auto_means_bfloat16_matrices(kernels, tiny_folder):
    summary, native, alone = tokens(tiny_folder, cpu_kernels="native")
    assert summary["dtype"] == "bfloat16"
    assert alone == native[0]
    assert all(len(answer) == 12 for answer in native)


def test_what_is_rounded_depends_neither_on_chunks_nor_on_the_cache(kernels, tiny_folder):
    prompt = list(range(20, 53))  # one token more than a chunk
    scored = SamplingParams(temperature=0, max_new_tokens=1, logprobs=0)
    found = []
    for chunk in (32, 64):
        options = {**OPTIONS, "chunked_prefill_size": chunk, "precompile_token_paddings": (chunk,)}
        with Engine(str(tiny_folder), **options, cpu_kernels="native") as engine:
            for cached in (0, 31):
                (answer,) = engine.generate(prompt_ids=[prompt], sampling=scored)
                assert answer.cached_tokens == cached
                found.append(answer.logprobs[0].logprob)
    assert len(set(found)) == 1, found
