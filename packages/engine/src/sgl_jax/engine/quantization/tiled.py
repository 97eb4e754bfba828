"""A matrix as the CPU's native kernels want it, as an NNX module, standing where a module's parameter stood.

Its layers stay in one array, which each kernel is given whole, with the number of the layer that is meant. To cut a
layer out of a stack XLA would copy it for the kernel, and that costs more than the product.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from flax import nnx

from sgl_jax.engine.cpu_kernels import layout, products
from sgl_jax.engine.quantization.formats import Q4_0, Q4_1, Q8_0, PackFormat

STACKED = "tiles"
"""The part of a tiled matrix that is never cut up by layer; see `step.Run`, where such leaves are called pooled."""
Tiles = dict[str, npt.NDArray[Any]]
TILED_PACKINGS: Mapping[PackFormat, str] = {Q4_1: "q4_1", Q4_0: "q4_0", Q8_0: "q8_0"}
"""Packed forms that there are kernels for -> their arranged form."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a parameter is arranged.

    Attributes:
        form: one of `cpu_kernels.layout.FORMATS`.
        exact: activations meet it as float32 where it is packed; else in eight bits, see `cpu_kernels.products`.
    """

    form: str
    exact: bool

    @property
    def plain_dtype(self) -> np.dtype[Any] | None:
        """The type in which the loader reads it; None where it is packed."""
        return {"bf16": np.dtype(jnp.bfloat16), "f32": np.dtype(np.float32)}.get(self.form)


class Tiled(NamedTuple):
    """One matrix [out, in].

    Attributes:
        tiles: it and its siblings.
        number: int32[], which of them it is.
        shape: (out, in).
        tiling: how it is arranged.
    """

    tiles: jax.Array
    number: jax.Array
    shape: tuple[int, int]
    tiling: Tiling

    def stack(self) -> products.Stack:
        """It and its siblings, for the kernels."""
        return products.Stack(self.tiles, self.tiling.form, self.shape[0])


class TiledMatrix(nnx.Module):
    """A matrix [out, in], or matrices [E, out, in] of as many experts.

    Args:
        shape: of the whole.
        tiling: how it is arranged.
        dtype: of rows that are looked up.

    Attributes:
        tiles: of all layers; with experts, of all experts of all layers.
        layer: int32[], which layer this is.
    """

    def __init__(self, shape: tuple[int, ...], tiling: Tiling, *, dtype: jnp.dtype) -> None:
        tiles_shape, tiles_dtype = layout.tiles_shape(tiling.form, shape)
        self.tiles = nnx.Param(jnp.zeros(tiles_shape, tiles_dtype))
        self.layer = nnx.Param(jnp.zeros((), jnp.int32))
        self.shape = (shape[-2], shape[-1])
        self.tiling = tiling
        self.dtype = dtype

    def whole(self) -> Tiled:
        """All of it."""
        return self.one(self.layer[...])

    def one(self, index: jax.Array) -> Tiled:
        """int32[] -> the matrix of one expert, or of one layer."""
        return Tiled(self.tiles[...], index, self.shape, self.tiling)

    def rows(self, indices: jax.Array) -> jax.Array:
        """int32[T] -> dtype[T, in]; indices past the end are clamped."""
        taken = products.take_rows(self.tiles[...], self.layer[...], indices, self.tiling.form, self.shape)
        return taken.astype(self.dtype)


def tiled_matmul(x: jax.Array, tiled: Tiled) -> jax.Array:
    """float[T, in] times tiled[out, in] transposed: float32[T, out]."""
    return products.matmul(x, tiled.stack(), tiled.number, exact=tiled.tiling.exact)


def choose_tilings(packable: Iterable[str], forms: Mapping[str, PackFormat], dtype: jnp.dtype) -> dict[str, Tiling]:
    """How each parameter is arranged, where there are kernels.

    Args:
        packable: leaf paths of the parameters that modules can do without, see `matrix.packable`.
        forms: leaf path -> packed form, of those that are packed.
        dtype: what was asked for: with float32 nothing is rounded that need not be.
    """
    exact = dtype == jnp.float32
    plain = Tiling("f32" if exact else "bf16", exact)
    chosen = {path: plain for path in packable if path not in forms}
    return chosen | {
        path: Tiling(TILED_PACKINGS[form], exact) for path, form in forms.items() if form in TILED_PACKINGS
    }


def tile(parts: Mapping[str, npt.NDArray[Any]], shape: tuple[int, ...], tiling: Tiling, layers: int | None) -> Tiles:
    """The leaves of a tiled matrix, in alphabetical order.

    Args:
        parts: of the loaded parameter, see `cpu_kernels.layout.arrange`.
        shape: of the whole parameter, all its layers included.
        tiling: how to arrange it.
        layers: how many are stacked on its first axis; None where layers are no axis.
    """
    return {**_numbers(layers), STACKED: layout.arrange(tiling.form, parts, shape)}


def tile_by_layer(
    parts_of: Iterable[Mapping[str, npt.NDArray[Any]]], shape: tuple[int, ...], tiling: Tiling, layers: int | None
) -> Tiles:
    """As `tile`, given one entry of the first axis after the other: there is never more than one beside the tiles."""
    tiles = layout.aligned_empty(*layout.tiles_shape(tiling.form, shape))
    for target, parts in zip(tiles, parts_of, strict=True):
        layout.arrange(tiling.form, parts, shape[1:], out=target)
    return {**_numbers(layers), STACKED: tiles}


def _numbers(layers: int | None) -> Tiles:
    return {"layer": np.zeros((), np.int32) if layers is None else np.arange(layers, dtype=np.int32)}


def stacked_leaves(leaves: Iterable[str], tilings: Mapping[str, Any]) -> Iterator[str]:
    """Those leaves of a module with tiled parameters that are not cut up by layer."""
    for leaf in leaves:
        owner, _, part = leaf.rpartition(".")
        if part == STACKED and isinstance(tilings.get(owner), Tiling):
            yield leaf
