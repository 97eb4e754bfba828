"""Fresh prompts by cuDNN: what is computed, by the same function over XLA; what is called, by lowering for CUDA."""

from __future__ import annotations

import functools
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo as fused

from sgl_jax.engine.attention import backends
from sgl_jax.engine.attention.api import RaggedRows
from sgl_jax.engine.attention.cudnn import fresh_attention, why_no_cudnn
from sgl_jax.engine.engine import Engine
from sgl_jax.engine.execution import executor
from sgl_jax.engine.execution.buckets import BucketLadder
from sgl_jax.engine.plan import SlotPlan, StepPlan
from sgl_jax.engine.sampling_params import SamplingParams
from tools.attention_cases import NUM_TOKENS, Shape, make_batch

GPU = SimpleNamespace(platform="gpu", device_kind="NVIDIA H200")
MODEL = {"heads": 32, "kv_heads": 8, "head_dim": 128, "dtype": jnp.dtype(jnp.bfloat16)}
ON_XLA = functools.partial(fresh_attention, otherwise=backends.XLA.attend, implementation="xla")


@pytest.mark.parametrize(("num_rows", "lengths", "shape"), [
    (1, [37, 0, 0, 0], Shape()),
    (1, [0, 0, 0, 0], Shape(dtype="int8")),
    (1, [40, 0, 0, 0], Shape(window=7)),
    (4, [1, 10, 3, 0], Shape(heads=6, kv_heads=2, page_size=4)),
    (4, [10, 10, 10, 10], Shape(dtype="float8_e4m3fn", window=10)),
    (4, [2, 9, 0, 0], Shape(sinks=True, softcap=2.5)),
])  # fmt: skip
def test_agrees_with_dense_attention(num_rows, lengths, shape):
    lengths = np.asarray(lengths)
    batch = make_batch(np.random.default_rng(3), shape, lengths, np.zeros_like(lengths))
    *columns, table = batch.rows
    rows = RaggedRows(*(column[:num_rows] for column in columns), table)
    attend = jax.jit(functools.partial(ON_XLA, scale=shape.head_dim**-0.5, window=shape.window, softcap=shape.softcap))
    out = attend(batch.query, batch.keys, batch.values, rows, sinks=batch.sinks, page_offset=batch.page_offset)
    assert out.shape == (NUM_TOKENS, shape.heads, shape.head_dim)
    assert np.isfinite(out).all()
    np.testing.assert_allclose(np.asarray(out)[: batch.live], batch.expected[: batch.live], atol=1e-5)


@pytest.mark.parametrize(("num_rows", "mask"), [(1, "CAUSAL"), (4, "PADDING_CAUSAL")])
def test_on_a_gpu_cudnn_is_called(num_rows, mask, monkeypatch):
    # JAX lowers no call of a library that is not there.
    monkeypatch.setattr(fused, "check_cudnn_version", lambda: 91300)
    shape = replace(Shape(), head_dim=128, dtype="bfloat16", query_dtype="bfloat16")
    batch = make_batch(np.random.default_rng(0), shape, np.zeros(4, int), np.zeros(4, int))
    *columns, table = batch.rows
    rows = RaggedRows(*(column[:num_rows] for column in columns), table)
    attend = jax.jit(functools.partial(fresh_attention, scale=1.0, otherwise=backends.XLA.attend))
    text = attend.trace(batch.query, batch.keys, batch.values, rows).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("__cudnn$fmhaSoftmax") == 1
    assert f"\\22mask_type\\22: \\22{mask}\\22" in text


def test_why_it_cannot_serve(monkeypatch):
    assert "not for the cpu" in why_no_cudnn(jax.devices()[0], **MODEL)
    assert "--tp-size" in why_no_cudnn(GPU, **MODEL, num_devices=2)
    assert "cuDNN is not detected" in why_no_cudnn(GPU, **MODEL)
    monkeypatch.setattr(fused, "check_cudnn_version", lambda: 91300)
    assert why_no_cudnn(GPU, **MODEL) is None
    assert "576" in why_no_cudnn(GPU, **{**MODEL, "head_dim": 576})
    assert "float32" in why_no_cudnn(GPU, **{**MODEL, "dtype": jnp.dtype(jnp.float32)})


OPTIONS = {
    "dtype": "float32",
    "cpu_kernels": "xla",
    "max_running_requests": 4,
    "max_total_tokens": 1024,
    "max_seq_len": 256,
    "chunked_prefill_size": 64,
    "precompile_bs_paddings": (4,),
    "precompile_token_paddings": (64,),
    "disable_radix_cache": True,
}


def test_an_engine_gives_fresh_prompts_to_it_and_answers_as_ever(tiny_folder, monkeypatch):
    # Alone, with full pages, longer than a chunk, together, and together but of lengths that no padding fits.
    prompts = [[list(range(20, 60))], [list(range(20, 68))], [list(range(100, 230))]]
    prompts += [[list(range(at, at + 9)) for at in (240, 250, 260)], [[300, 301], list(range(310, 350))]]
    sampling = SamplingParams(temperature=0, max_new_tokens=6, ignore_eos=True)

    ran, run = [], executor.DeviceExecutor._run

    def watched(self, bucket, plan, **options):
        if plan.slots:
            ran.append(str(bucket))
        return run(self, bucket, plan, **options)

    def answers(engine):
        ran.clear()
        tokens = [[done.token_ids for done in engine.generate(prompt_ids=ids, sampling=sampling)] for ids in prompts]
        return tokens, [name for name in ran if not name.startswith("decode")]

    fresh = backends.FreshPrompts(ON_XLA, (1, 4), 64)
    monkeypatch.setattr(backends, "XLA", backends.XLA._replace(fresh=fresh))
    monkeypatch.setattr(executor.DeviceExecutor, "_run", watched)
    with Engine(tiny_folder, **OPTIONS) as engine:
        warm = engine.stats().compiles_total
        found, steps = answers(engine)
        monkeypatch.setattr(StepPlan, "is_fresh", False)
        expected, mixed_steps = answers(engine)
        assert engine.stats().compiles_total == warm
    assert found == expected
    alone, together, mixed = "fresh 64 tokens x1", "fresh 64 tokens x4", "mixed 64 tokens x4"
    assert steps == [alone, alone, alone, mixed, mixed, together, mixed]
    assert set(mixed_steps) == {mixed}


def test_only_what_is_whole_and_fits_is_fresh():
    ladder = BucketLadder(64, 4, fresh=backends.FreshPrompts(ON_XLA, (1, 4), 32))
    assert [str(bucket) for bucket in ladder.buckets if bucket.fresh] == [
        *("fresh 32 tokens x1", "fresh 32 tokens x4", "fresh 64 tokens x1", "fresh 64 tokens x4"),
    ]

    def chosen(*slots):
        return str(ladder.choose(StepPlan(tuple(slot(*lengths) for lengths in slots))))

    assert chosen((0, 30)) == "fresh 32 tokens x1"
    assert chosen((0, 8), (0, 5)) == "mixed 16 tokens x4"
    assert chosen((0, 8), (0, 16), (0, 12)) == "fresh 64 tokens x4"
    assert chosen((0, 4), (0, 50)) == "mixed 64 tokens x4"
    assert chosen((16, 30)) == "mixed 32 tokens x4"
    assert chosen((40, 1), (0, 30)) == "mixed 32 tokens x4"
    assert chosen((40, 1), (0, 1)) == "decode x2"


def slot(start, num_tokens):
    return SlotPlan(0, start, num_tokens, range(num_tokens), 0, (), True, SamplingParams(), 0)
