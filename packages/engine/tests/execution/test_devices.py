"""What a device can do, by what it says of itself."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import pytest

from sgl_jax.engine.errors import ConfigError
from sgl_jax.engine.execution.devices import find_devices, knows_float8


@pytest.mark.parametrize(("capability", "knows"), [("8.0", False), ("8.9", True), ("12.0", True), ("gfx90a", False)])
def test_float8_kernels_are_for_gpus_since_ada(capability, knows):
    assert knows_float8(SimpleNamespace(compute_capability=capability)) is knows


def test_a_cpu_has_none():
    assert not knows_float8(jax.devices("cpu")[0])


def test_each_node_brings_its_first_devices(monkeypatch):
    """Whatever order JAX has them in."""
    ranks = [1, 0, 0, 1, 1]
    devices = [SimpleNamespace(platform="gpu", process_index=rank, id=number) for number, rank in enumerate(ranks)]
    monkeypatch.setattr(jax, "devices", lambda platform=None: devices)
    assert [device.id for device in find_devices("cuda", 4, nodes=2)] == [1, 2, 0, 3]
    with pytest.raises(ConfigError, match="takes 3 devices of each node; node 0 has 2"):
        find_devices("auto", 6, nodes=2)
