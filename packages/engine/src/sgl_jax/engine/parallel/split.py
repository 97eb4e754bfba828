"""How parameters are cut into shares: found by comparing a module's shapes with those of its share."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt
from jax.sharding import Mesh, NamedSharding

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.parallel.mesh import along, bring, everywhere, is_here
from sgl_jax.engine.parallel.share import laid_end_to_end

HostArray = npt.NDArray[Any]
Shape = tuple[int, ...]


class Split(NamedTuple):
    """How a parameter is cut.

    Attributes:
        axis: which of its axes, counted from the end (-1 is the last); so leading axes of layers do not matter.
        parts: of each of the matrices that lie end to end on it, its length and that of a share of it. Shares that are
            together longer than the whole repeat it where they are much longer (a key head that several devices need)
            and else end in padding.
    """

    axis: int
    parts: tuple[tuple[int, int], ...]


def find_split(leaf: str, whole: Shape, share: Shape, specs: tuple[ModelSpec, ModelSpec]) -> Split | None:
    """The cut that makes one shape out of another; None where each device holds the whole.

    Args:
        leaf: the parameter's dotted path.
        whole, share: shapes that differ in one axis at most.
        specs: of the model, and of a share.
    """
    differing = [axis for axis in range(-len(whole), 0) if whole[axis] != share[axis]]
    if not differing:
        return None
    (axis,) = differing
    parts = (laid_end_to_end(leaf, shape[axis], spec) for shape, spec in zip((whole, share), specs, strict=True))
    return Split(axis, tuple(zip(*parts, strict=True)))


def cut(array: HostArray, split: Split, index: int, count: int) -> HostArray:
    """The share of device `index` among `count`; a view where that is possible."""
    cuts, start = [], 0
    for length, wanted in split.parts:
        repeats = max(count * wanted // length, 1)
        begin = min(index // repeats * wanted, length)
        end = min(begin + wanted, length)
        piece = _slice(array, split.axis, start + begin, start + end)
        if end - begin < wanted:
            padding = [(0, 0)] * array.ndim
            padding[split.axis] = (0, wanted - (end - begin))
            piece = np.pad(piece, padding)
        cuts.append(piece)
        start += length
    return cuts[0] if len(cuts) == 1 else np.concatenate(cuts, split.axis)


def place(array: HostArray, split: Split | None, mesh: Mesh) -> jax.Array:
    """Brings a parameter to the devices, to each only its share; of several nodes, each does so with its own devices.

    The array that is returned has all shares behind one another on the axis that is cut: fused matrices lie in it
    otherwise than in `array`, and no program may look at it as a whole.
    """
    if split is None:
        return jax.block_until_ready(bring(array, everywhere(mesh)))
    devices = list(mesh.devices.flat)
    # One at a time: arrays that wait for the bus to a device would fill the host's memory.
    shares = [
        jax.block_until_ready(jax.device_put(cut(array, split, index, len(devices)), device))
        for index, device in enumerate(devices)
        if is_here(device)
    ]
    shape = list(shares[0].shape)
    shape[split.axis] *= len(devices)
    sharding = NamedSharding(mesh, along(split.axis, len(shape)))
    return jax.make_array_from_single_device_arrays(tuple(shape), sharding, shares)


def _slice(array: HostArray, axis: int, begin: int, end: int) -> HostArray:
    where = [slice(None)] * array.ndim
    where[axis] = slice(begin, end)
    return array[tuple(where)]
