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


def tiled_recipes(recipes: Mapping[str, ParamRecipe], tilings: Mapping[str, Tiling]) -> dict[str, ParamRecipe]:
    """The recipes, in which matrices that stay plain are read in the type that they are kept in."""
    return {
        name: recipe._replace(dtype=tilings[path].plain_dtype)
        if (path := leaf_path(name)) in tilings and recipe.packing is None
        else recipe
        for name, recipe in recipes.items()
    }


def tiled_params(
    loaded: dict[str, jax.Array],
    recipes: Mapping[str, ParamRecipe],
    tilings: Mapping[str, Tiling],
    *,
    pooled: Collection[str],
    place: Callable[[npt.NDArray[Any]], jax.Array],
) -> dict[str, jax.Array]:
    """Arranges what is to be, one parameter at a time.

    Args:
        loaded: what `load_params` returned for these recipes; it is emptied, so that no parameter is there twice.
        recipes: of all parameters.
        tilings: leaf path -> how it is arranged; others stay as they are.
        pooled: leaf paths whose first axis counts experts, of all layers if these are stacked.
        place: brings an array to the device.

    Returns:
        Leaf -> array, in the order of `recipes`.
    """
    made: dict[str, jax.Array] = {}
    for name, recipe in recipes.items():
        names = [f"{name}.{part}" for part in recipe.packing.parts(recipe.shape)] if recipe.packing else [name]
        path = leaf_path(name)
        if path not in tilings:
            made |= {leaf: loaded.pop(leaf) for leaf in names}
            continue
        parts = {leaf[len(name) + 1 :]: np.asarray(loaded.pop(leaf)) for leaf in names}
        layers = recipe.shape[0] if recipe.stacked and path not in pooled else None
        leaves = tile(parts, recipe.shape, tilings[path], layers)
        made |= {f"{name}.{part}": place(leaf) for part, leaf in leaves.items()}
    return made
