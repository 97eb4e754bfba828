"""How many tokens a pool holds in each format, and how far each format moves the log-probabilities."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.engine import Engine
from sgl_jax.engine.errors import ConfigError
from sgl_jax.engine.execution.kv_pool import make_pools, plan_pool
from sgl_jax.engine.sampling_params import SamplingParams
from tools.tiny_model_architectures import BASE_CONFIG

SPEC = ModelSpec.from_hf_config({**BASE_CONFIG, "architectures": ["LlamaForCausalLM"], "head_dim": 64})
FLOAT32 = jnp.dtype(jnp.float32)


def plan(kv_cache_dtype, *, free=1 << 20, dtype=FLOAT32, **options):
    config = EngineConfig(model_path="m", kv_cache_dtype=kv_cache_dtype, mem_fraction_static=0.5, **options)
    return plan_pool(config, SPEC, dtype, jax.devices()[0], free)


@pytest.mark.parametrize(
    ("kv_cache_dtype", "vector_bytes"),
    [("auto", 256), ("float32", 256), ("bfloat16", 128), ("fp8_e4m3", 64), ("fp8_e5m2", 64), ("int8", 64 + 4)],
)
@pytest.mark.parametrize("stacked", [False, True])
def test_the_same_memory_holds_more_narrow_tokens(kv_cache_dtype, vector_bytes, stacked):
    pool = plan(kv_cache_dtype)
    token_bytes = 2 * SPEC.num_layers * SPEC.num_kv_heads * vector_bytes
    assert pool.num_pages == (1 << 19) // (16 * token_bytes)
    leaves = jax.tree.leaves(make_pools(pool, SPEC, jax.devices()[0], stacked=stacked))
    assert sum(leaf.nbytes for leaf in leaves) == pool.num_bytes == pool.num_tokens * token_bytes


def test_on_a_gpu_it_is_no_size_that_the_kernels_cannot_count():
    gpu = SimpleNamespace(platform="gpu")
    config = EngineConfig(model_path="m", kv_cache_dtype="fp8_e4m3", mem_fraction_static=0.5)
    elements = 16 * SPEC.num_kv_heads * 64
    for gib, expected in ((1, 1 << 30), (3, 1 << 31), (5, 5 << 30)):
        free = 2 * 2 * SPEC.num_layers * (gib << 30)
        assert plan_pool(config, SPEC, FLOAT32, gpu, free).num_pages == expected // elements


def test_the_summary_names_the_type_and_what_it_buys():
    assert str(plan("int8", max_total_tokens=1000)).startswith("1008 tokens as int8 (267 as float32), pages of 16, ")
    assert str(plan("auto", max_total_tokens=1000)).startswith("1008 tokens as float32, pages of 16, ")
    wide = plan("float32", max_total_tokens=1000, dtype=jnp.dtype(jnp.bfloat16))
    assert str(wide).startswith("1008 tokens as float32 (2016 as bfloat16), ")


def test_no_room_for_a_page_is_said_with_the_flags_to_change():
    with pytest.raises(ConfigError, match=r"--mem-fraction-static.*--max-total-tokens"):
        plan("int8", free=1024)


def test_an_unknown_type_is_refused():
    with pytest.raises(ConfigError, match=r"--kv-cache-dtype must be one of .*fp8_e4m3, fp8_e5m2, int8, got 'fp8'"):
        EngineConfig(model_path="m", kv_cache_dtype="fp8")


# Random weights amplify what rounding does: a trained model moves half as far (see the package's README).
MEAN_CHANGE = {"bfloat16": 0.04, "int8": 0.12, "fp8_e4m3": 0.5}
PROMPT = np.random.default_rng(0).integers(20, 400, 120).tolist()
PROMPTS = [PROMPT[:length] for length in (3, 17, 40, 64, 90, 120)]


def next_logprobs(folder, kv_cache_dtype):
    """The likeliest next tokens' log-probabilities after each prompt: computed, and with a prefix hit."""
    options = {"max_total_tokens": 1024, "max_seq_len": 256, "max_running_requests": 4, "chunked_prefill_size": 32}
    rungs = {"precompile_bs_paddings": (4,), "precompile_token_paddings": (32,)}
    once = SamplingParams(temperature=0, max_new_tokens=1, logprobs=20)
    with Engine(
        folder, dtype="float32", device="cpu", kv_cache_dtype=kv_cache_dtype, skip_warmup=True, **options, **rungs
    ) as engine:
        assert engine.info.summary["KV pool"].startswith("1024 tokens as ")
        rounds = [engine.generate(prompt_ids=PROMPTS, sampling=once) for _ in range(2)]
    assert [completion.cached_tokens for completion in rounds[1]] == [max(len(ids) - 2, 0) for ids in PROMPTS]
    return [[dict(completion.logprobs[0].top) for completion in completions] for completions in rounds]


def mean_change(ours, theirs):
    changes = [abs(a[token] - b[token]) for a, b in zip(ours, theirs, strict=True) for token in a if token in b]
    assert len(changes) > 10 * len(ours), "other tokens came out on top"
    return np.mean(changes)


def test_narrow_pools_keep_the_logprobs_within_their_bounds(tiny_folder):
    expected, _ = next_logprobs(tiny_folder, "float32")
    for kv_cache_dtype, bound in MEAN_CHANGE.items():
        computed, cached = next_logprobs(tiny_folder, kv_cache_dtype)
        assert mean_change(computed, expected) < bound
        assert mean_change(cached, computed) < bound / 10, "what was stored is read back as it was written"
