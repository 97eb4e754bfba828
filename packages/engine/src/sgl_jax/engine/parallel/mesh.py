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


def is_here(device: jax.Device) -> bool:
    """Whether a device belongs to this process: several nodes each have some of a mesh."""
    return device.process_index == jax.process_index()


def bring(arrays: Any, place: jax.Device | jax.sharding.Sharding) -> Any:
    """Brings host arrays to a device, or whole to all devices of a mesh; of these, each node to its own.

    Args:
        arrays: a tree of NumPy arrays, on all nodes the same.
        place: the device, or `everywhere(mesh)`.
    """
    if isinstance(place, jax.Device) or place.is_fully_addressable:
        return jax.device_put(arrays, place)
    here = [device for device in place.addressable_devices if device is not None]

    def on_all_nodes(array: Any) -> jax.Array:
        # `device_put` would first have the nodes compare what they bring, in every step.
        copies = [jax.device_put(array, device) for device in here]
        return jax.make_array_from_single_device_arrays(np.shape(array), place, copies)

    return jax.tree.map(on_all_nodes, arrays)


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
