"""The real step, compiled for an H200 without one. Not part of CI: needs jax's CUDA plugin (`docs/guides/gpu.md`)."""

from __future__ import annotations

import pytest

pytest.importorskip("jax_plugins.xla_cuda13", reason="needs jax's CUDA plugin; docs/guides/gpu.md says how")

from sgl_jax.engine.attention import backends
from sgl_jax.engine.execution.xla_options import program_options
from tools.deviceless_compile import Case, compile_step
from tools.deviceless_findings import MOST_KERNELS_A_LAYER, faults, find

LAYERS = 4


def compiled(case: Case, **options: str | bool):
    attention = backends.choose("auto", has_kernels=False, platform="gpu")
    return compile_step(case, attention, {**program_options("cuda", 1), **options})


@pytest.mark.parametrize("batch", [1, 32, 256])
@pytest.mark.parametrize("model", ["Qwen3-0.6B", "Qwen3-8B"])
def test_decode_is_one_graph_that_copies_nothing(model, batch):
    assert faults(find(compiled(Case(model, batch, layers=LAYERS)))) == []


def test_prefill_is_one_graph_that_copies_nothing():
    assert faults(find(compiled(Case("Qwen3-0.6B", 32, tokens=512, layers=LAYERS)))) == []


@pytest.mark.parametrize("kv_dtype", ["float8_e4m3fn", "int8"])
def test_narrow_keys_cost_no_kernel(kv_dtype):
    assert faults(find(compiled(Case("Qwen3-0.6B", 32, layers=LAYERS, kv_dtype=kv_dtype)))) == []


@pytest.mark.parametrize("quantization", ["int8", "fp8"])
def test_packed_weights_are_unpacked_inside_their_product(quantization):
    found = find(compiled(Case("Qwen3-8B", 32, layers=LAYERS, quantization=quantization)))
    assert faults(found) == []
    assert found.kernels_a_layer <= MOST_KERNELS_A_LAYER


def test_long_steps_multiply_in_float8():
    case = Case("Qwen3-8B", 256, layers=2, quantization="fp8")
    found = find(compiled(case, xla_gpu_enable_triton_gemm=False))
    assert found.targets["__cublas$lt$matmul$f8"] == 2 * 4
