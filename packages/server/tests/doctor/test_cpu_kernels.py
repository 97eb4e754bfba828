"""What the doctor says of the native CPU kernels."""

from __future__ import annotations

import pytest

from sgl_jax.server.doctor import devices
from sgl_jax.server.doctor.devices import check_devices
from sgl_jax.server.doctor.finding import Finding


def finding(monkeypatch: pytest.MonkeyPatch, **report: str) -> Finding | None:
    """The line about kernels, from a report that says no more than it must."""
    said = devices._Report(jax="1.0", devices=["cpu:0"], chosen="cpu (cpu)", **report)
    monkeypatch.setattr(devices, "_ask_jax", lambda device: said)
    return next((one for one in check_devices("cpu") if one.name == "CPU kernels"), None)


def test_kernels_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    found = finding(monkeypatch, kernels="AVX2, by g++ 12, /cache/kernels.so")
    assert found is not None
    assert (found.grade, found.value) == ("ok", "AVX2, by g++ 12, /cache/kernels.so")


def test_why_there_are_none_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    found = finding(monkeypatch, kernels_problem="no C++ compiler was found: install g++")
    assert found is not None
    assert found.grade == "warning"
    assert found.value.startswith("no C++ compiler was found; plain XLA serves")
    assert found.advice == "install g++"


def test_a_gpu_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert finding(monkeypatch) is None
