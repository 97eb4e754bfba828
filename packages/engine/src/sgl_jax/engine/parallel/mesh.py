"""The devices that share a model, and programs that run on all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "tensor"
"""The mesh's only axis: along it every device holds another part of each large matrix."""
EVERYWHERE = PartitionSpec()
"""Of an array that each device holds whole."""


def make_mesh(devices: Sequence[jax.Device]) -> Mesh:
    """A mesh of these devices, in this order."""
    return Mesh(np.asarray(devices), (AXIS,))


def everywhere(mesh: Mesh) -> NamedSharding:
    """Where an array lies that each device holds whole."""
    return NamedSharding(mesh, EVERYWHERE)


def along(axis: int, ndim: int) -> PartitionSpec:
    """Of an array of `ndim` axes that is cut along one of them, counted from the end (-1 is the last)."""
    return PartitionSpec(*(AXIS if place == axis + ndim else None for place in range(axis + ndim + 1)))


def cut_of(array: Any) -> PartitionSpec:
    """How an array on a mesh, or its shape with a sharding, is cut."""
    assert isinstance(array.sharding, NamedSharding), array.sharding
    return array.sharding.spec


def on_all(
    mesh: Mesh, function: Callable[..., Any], arguments: Sequence[Any], outputs: Any = EVERYWHERE
) -> Callable[..., Any]:
    """A function of shares as a function of what they are shares of; each device runs it on its own.

    Args:
        mesh: the devices.
        function: what each of them runs; it may sum over `AXIS`.
        arguments: arrays, or shapes with shardings, like those that it will be called with.
        outputs: how what it returns is cut, as a prefix of its structure.
    """
    inputs = jax.tree.map(cut_of, tuple(arguments))
    # What is returned as one for all is the result of a sum or computed alike by each; JAX cannot see the latter.
    return jax.shard_map(function, mesh=mesh, in_specs=inputs, out_specs=outputs, check_vma=False)
