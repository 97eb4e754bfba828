"""Parameters from the form in which they are loaded into that of the CPU's native kernels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from sgl_jax.engine.quantization.tiled import Tiling, tile
from sgl_jax.engine.weights.loader import ParamRecipe
from sgl_jax.engine.weights.names import leaf_path


def tiled_recipes(
    recipes: Mapping[str, ParamRecipe], tilings: Mapping[str, Tiling], pooled: Collection[str]
) -> dict[str, ParamRecipe]:
    """The recipes, with those of tiled matrices changed.

    Args:
        recipes: of all parameters.
        tilings: leaf path -> how it is arranged.
        pooled: leaf paths whose first axis counts experts, of all layers if these are stacked.
    """
    return {
        name: _tiled(recipe, tilings[path], counts_layers=recipe.stacked and path not in pooled)
        if (path := leaf_path(name)) in tilings
        else recipe
        for name, recipe in recipes.items()
    }


def _tiled(recipe: ParamRecipe, tiling: Tiling, *, counts_layers: bool) -> ParamRecipe:
    dtype = tiling.plain_dtype if recipe.packing is None else recipe.dtype
    return recipe._replace(dtype=dtype, tiling=tiling, layers=recipe.shape[0] if counts_layers else None)


def tiled_params(
    loaded: dict[str, jax.Array],
    recipes: Mapping[str, ParamRecipe],
    *,
    place: Callable[[npt.NDArray[Any]], jax.Array],
) -> dict[str, jax.Array]:
    """Arranges parameters that were made up, one at a time; `load_params` arranges those that it reads.

    Args:
        loaded: what `dummy_params` returned for these recipes; it is emptied, so that no parameter is there twice.
        recipes: of all parameters.
        place: brings an array to the device.

    Returns:
        Leaf -> array, in the order of `recipes`.
    """
    made: dict[str, jax.Array] = {}
    for name, recipe in recipes.items():
        names = [f"{name}.{part}" for part in recipe.packing.parts(recipe.shape)] if recipe.packing else [name]
        if recipe.tiling is None:
            made |= {leaf: loaded.pop(leaf) for leaf in names}
            continue
        parts = {leaf[len(name) + 1 :]: np.asarray(loaded.pop(leaf)) for leaf in names}
        leaves = tile(parts, recipe.shape, recipe.tiling, recipe.layers)
        made |= {f"{name}.{part}": place(leaf) for part, leaf in leaves.items()}
    return made
