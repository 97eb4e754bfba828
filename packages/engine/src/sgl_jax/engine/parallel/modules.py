"""Tells a share's modules which of them have to sum with those of other devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from flax import nnx

from sgl_jax.engine.parallel.mesh import AXIS

M = TypeVar("M", bound=nnx.Module)


@runtime_checkable
class Joinable(Protocol):
    """A module whose answers are partial, if its weight is cut along a certain axis.

    Attributes:
        PARTIAL: that axis, counted from the end: of a matrix, its inputs; of a table, its rows.
        weight: has a shape.
        mesh_axis: None, or over which axis of devices the answers are summed.
    """

    PARTIAL: ClassVar[int]
    weight: Any
    mesh_axis: str | None


def join(share: M, whole: Mapping[str, tuple[int, ...]]) -> M:
    """Sets `mesh_axis` of the modules whose weights are cut where that makes their answers partial.

    Args:
        share: changed in place; its parameters may be abstract.
        whole: the shapes of the whole module's parameters, by dotted path.
    """
    for path, module in nnx.iter_modules(share):
        if isinstance(module, Joinable):
            name = ".".join(map(str, (*path, "weight")))
            if module.weight.shape[module.PARTIAL] != whole[name][module.PARTIAL]:
                module.mesh_axis = AXIS
    return share
