"""Pages that begin as others do: copied on the device, before the step that goes on writing in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import numpy as np
import numpy.typing as npt
from jax import lax

from sgl_jax.engine.attention.backends import PageCopier
from sgl_jax.engine.execution.step import Pools
from sgl_jax.engine.plan import PageCopy

MOST = 32
"""Copies of one call."""


def pack_copies(copies: Sequence[PageCopy]) -> npt.NDArray[np.int32]:
    """At most `MOST` copies as int32[2 * MOST + 1]: how many, then sources, then targets."""
    packed = np.zeros(2 * MOST + 1, np.int32)
    packed[0] = len(copies)
    for place, copy in enumerate(copies, 1):
        packed[place], packed[MOST + place] = copy
    return packed


def make_copy_pages(num_pages: int, copier: PageCopier | None = None) -> Callable[[Pools, jax.Array], Pools]:
    """The program: one copy after the other, each in all layers, so that it costs as much as there are.

    Args:
        num_pages: of a layer; a pool holds those of one layer or of several, one after the other.
        copier: does it, where there is a kernel for it.
    """

    def moved(array: jax.Array, source: jax.Array, target: jax.Array) -> jax.Array:
        layers = array.reshape(-1, num_pages, *array.shape[1:])
        # Apart from the write: fused with it, XLA would copy the whole pool.
        page = lax.optimization_barrier(lax.dynamic_slice_in_dim(layers, source, 1, axis=1))
        return lax.dynamic_update_slice_in_dim(layers, page, target, axis=1).reshape(array.shape)

    def copy_pages(pools: Pools, packed: jax.Array) -> Pools:
        if copier is not None:
            return jax.tree.map(lambda array: copier(array, packed, num_pages=num_pages), pools)

        def one(index: jax.Array, before: Pools) -> Pools:
            return jax.tree.map(lambda array: moved(array, packed[1 + index], packed[1 + MOST + index]), before)

        return lax.fori_loop(0, packed[0], one, pools)

    return copy_pages
