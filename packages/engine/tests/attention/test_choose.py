"""Which backend serves where: by name, by device, and never silently the slow one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from sgl_jax.engine.attention import backends
from sgl_jax.engine.attention.api import Pages
from sgl_jax.engine.attention.native import native_attention
from sgl_jax.engine.attention.pallas_gpu.limits import beyond_indices, why_no_pallas
from sgl_jax.engine.errors import ConfigError


def gpu(capability, kind="NVIDIA H200"):
    return SimpleNamespace(platform="gpu", compute_capability=capability, device_kind=kind)


@pytest.mark.parametrize(("name", "has_kernels", "expected"), [
    ("auto", False, backends.XLA), ("xla", True, backends.XLA), ("reference", True, backends.REFERENCE),
])  # fmt: skip
def test_on_cpu(name, has_kernels, expected):
    assert backends.choose(name, has_kernels=has_kernels) is expected


@pytest.mark.parametrize("name", ["auto", "native"])
@pytest.mark.parametrize("exact", [False, True])
def test_native_on_cpu(name, exact):
    chosen = backends.choose(name, has_kernels=True, exact=exact)
    assert (chosen.attend.func, chosen.attend.keywords) == (native_attention, {"exact": exact})


def test_pallas_on_cpu_warns_that_it_is_for_tests(caplog):
    assert backends.choose("pallas", has_kernels=True).attend.keywords == {"interpret": True}
    assert "for tests" in caplog.text


@pytest.mark.parametrize("name", ["auto", "native", "pallas"])
def test_on_a_gpu_it_is_pallas(name):
    chosen = backends.choose(name, has_kernels=False, platform="gpu")
    assert chosen == backends.pallas()
    assert chosen.store_projected is not None


def test_on_a_gpu_that_cannot_it_is_xla_with_a_reason(caplog):
    reason = why_no_pallas(gpu("7.5", "Tesla T4"), 128, "auto")
    assert backends.choose("auto", has_kernels=False, platform="gpu", without_pallas=reason) is backends.XLA
    assert "compute capability 8.0, Tesla T4 has 7.5" in caplog.text
    with pytest.raises(ConfigError, match=r"Tesla T4 .*--attention-backend=xla"):
        backends.choose("pallas", has_kernels=False, platform="gpu", without_pallas=reason)


def test_cudnn_serves_fresh_prompts_beside_pallas_and_only_if_asked_for():
    chosen = backends.choose("cudnn", has_kernels=False, platform="gpu")
    assert chosen._replace(fresh=None) == backends.pallas()
    assert chosen.for_fresh_prompts.attend.keywords == {"otherwise": chosen.attend}
    assert backends.choose("auto", has_kernels=False, platform="gpu").fresh is None
    with pytest.raises(ConfigError, match=r"=cudnn: not there\. Use --attention-backend=auto"):
        backends.choose("cudnn", has_kernels=True, without_cudnn="not there")


def test_what_a_gpu_must_have():
    assert why_no_pallas(gpu("9.0"), 576, "fp8_e4m3") is None
    assert why_no_pallas(gpu("8.0"), 128, "fp8_e5m2") is None
    assert "8.9" in why_no_pallas(gpu("8.6", "RTX 3090"), 128, "fp8_e4m3")
    assert "NVIDIA" in why_no_pallas(gpu("gfx942", "MI300X"), 128, "auto")
    assert "2048 dimensions" in why_no_pallas(gpu("9.0"), 2048, "auto")


@pytest.mark.parametrize(("num_pages", "itemsize", "beyond"), [
    (1 << 16, 1, False), ((1 << 16) + 1, 1, True), (1 << 17, 1, True), ((1 << 17) + 1, 1, False), (1 << 17, 2, False),
])  # fmt: skip
def test_pools_that_pallas_cannot_count(num_pages, itemsize, beyond):
    stored = SimpleNamespace(shape=(num_pages, 16, 16, 128), dtype=SimpleNamespace(itemsize=itemsize))
    assert beyond_indices(Pages(stored, None, None)) is beyond
