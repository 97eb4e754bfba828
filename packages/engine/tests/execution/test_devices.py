"""What a device can do, by what it says of itself."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import pytest

from sgl_jax.engine.execution.devices import knows_float8


@pytest.mark.parametrize(("capability", "knows"), [("8.0", False), ("8.9", True), ("12.0", True), ("gfx90a", False)])
def test_float8_kernels_are_for_gpus_since_ada(capability, knows):
    assert knows_float8(SimpleNamespace(compute_capability=capability)) is knows


def test_a_cpu_has_none():
    assert not knows_float8(jax.devices("cpu")[0])
