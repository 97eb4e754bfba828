"""The real step, compiled for an H200 without one: a job of its own in CI, because it needs jax's CUDA plugin."""

from __future__ import annotations

import pytest

pytest.importorskip(
    "jax_plugins.xla_cuda13",
    reason="needs jax's CUDA plugin: uv run --isolated --group deviceless pytest tests/deviceless -n0",
)

from sgl_jax.engine.attention import backends
from sgl_jax.engine.execution.xla_options import program_options
from tools.deviceless_compile import Case, compile_step
from tools.deviceless_findings import MOST_KERNELS_A_LAYER, faults, find

pytestmark = pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated:DeprecationWarning")
LAYERS = 4
"""Of steps that differ from the six whole models' in what a layer does."""


@pytest.fixture(autouse=True)
def no_flags_for_cpu(monkeypatch):
    """The suite's (conftest.py) are not all known to the plugin, which would end the process."""
    monkeypatch.setenv("XLA_FLAGS", "")


def compiled(case: Case, **options: str | bool):
    attention = backends.choose("auto", has_kernels=False, platform="gpu")
    return compile_step(case, attention, {**program_options("cuda", 1), **options})


@pytest.mark.parametrize("batch", [1, 32, 256])
@pytest.mark.parametrize("model", ["Qwen3-0.6B", "Qwen3-8B"])
def test_decode_is_one_graph_that_copies_nothing(model, batch):
    assert faults(find(compiled(Case(model, batch)))) == []


def test_prefill_is_one_graph_that_copies_nothing():
    assert faults(find(compiled(Case("Qwen3-0.6B", 32, tokens=512, layers=LAYERS)))) == []


@pytest.mark.parametrize("kv_dtype", ["float8_e4m3fn", "int8"])
def test_narrow_keys_cost_no_kernel(kv_dtype):
    assert faults(find(compiled(Case("Qwen3-0.6B", 32, layers=LAYERS, kv_dtype=kv_dtype)))) == []


@pytest.mark.parametrize("batch", [1, 32])
@pytest.mark.parametrize("quantization", ["int8", "fp8", "int4", "q8_0", "q4_0"])
def test_packed_weights_are_unpacked_inside_their_product(quantization, batch):
    found = find(compiled(Case("Qwen3-8B", batch, layers=LAYERS, quantization=quantization)))
    assert faults(found) == []
    assert found.kernels_a_layer <= MOST_KERNELS_A_LAYER


def test_plain_xla_writes_matrices_of_groups_to_memory():
    attention = backends.choose("xla", has_kernels=False, platform="gpu")
    case = Case("Qwen3-0.6B", 256, layers=2, quantization="q8_0")
    assert find(compile_step(case, attention, program_options("cuda", 1))).unpacked


@pytest.mark.parametrize("has_triton", [True, False])
def test_long_steps_multiply_in_float8_whatever_xla_chooses(has_triton):
    case = Case("Qwen3-8B", 256, layers=LAYERS, quantization="fp8")
    found = find(compiled(case, xla_gpu_enable_triton_gemm=has_triton))
    assert faults(found) == []
    if has_triton:
        return
    assert found.targets["__cublas$lt$matmul$f8"] == LAYERS * 4


@pytest.mark.parametrize("prompts", [1, 4])
def test_fresh_prompts_are_a_call_of_cudnn_a_layer_in_the_same_graph(prompts):
    attention = backends.choose("cudnn", has_kernels=False, platform="gpu")
    case = Case("Qwen3-8B", prompts, tokens=2048, layers=LAYERS, fresh=True)
    found = find(compile_step(case, attention, program_options("cuda", 1)))
    assert found.targets["__cudnn$fmhaSoftmax"] == LAYERS
    assert found.layer.count("kCuDnn") + found.layer.count("CuDnn") == 1
    assert (found.graphs, found.outside, found.pool_copies) == (1, {}, 0)
    assert found.aliased_bytes >= found.pool_bytes
    assert found.temp_bytes <= found.temp_bound
    assert found.kernels_a_layer <= MOST_KERNELS_A_LAYER + (prompts > 1)
