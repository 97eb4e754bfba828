"""Which checkpoint tensors make up each parameter of ours.

Parameter paths are Hugging Face tensor names already, less the prefix; only fused parameters, experts and stacked
layers need saying.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sgl_jax.engine.weights.loader import ParamRecipe

Shapes = Mapping[str, tuple[int, ...]]
EXPERT = "{expert}"
"""Where the number of an expert goes in a tensor's name, where each has its own."""


class LayerShapes(NamedTuple):
    """The parameters of consecutive layers of one make.

    Attributes:
        shapes: of one of these layers, path -> shape.
        length: how many layers.
        pooled: paths whose first axis counts experts; stacked layers lie one after another on it.
    """

    shapes: Shapes
    length: int
    pooled: frozenset[str] = frozenset()


def decoder_recipes(
    ends: Shapes, runs: Sequence[LayerShapes], *, fused: Mapping[str, tuple[str, ...]], stacked: bool
) -> dict[str, ParamRecipe]:
    """Recipes for all parameters of a decoder, in the order in which the step wants them.

    Args:
        ends: parameters outside the layers, path -> shape.
        runs: the layers between.
        fused: module path -> the checkpoint's modules, concatenated on the output axis; with `EXPERT` in the name, one
            set an expert.
        stacked: whether a parameter carries all layers of its run, on a new first axis if it is not pooled.
    """
    recipes: dict[str, ParamRecipe] = {}
    for path, shape in ends.items():
        name = path if path.startswith("lm_head.") else f"model.{path}"
        recipes[name] = ParamRecipe(sources=((name,),), shape=shape, stacked=False)
    first = 0
    for run in runs:
        layers = range(first, first + run.length)
        for part in [layers] if stacked else [range(layer, layer + 1) for layer in layers]:
            label = f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0])
            for path, shape in run.shapes.items():
                tensors = [_tensors(path, layer, fused) for layer in part]
                recipe = _pooled(tensors, shape) if path in run.pooled else _layered(tensors, shape, stacked=stacked)
                recipes[f"model.layers.{label}.{path}"] = recipe
        first += run.length
    return recipes


def leaf_path(name: str) -> str:
    """The path of a parameter in its module, from its name in a recipe: `model.layers.0-29.mlp.up` -> `mlp.up`."""
    return re.sub(r"^model\.(layers\.[\d-]+\.)?", "", name)


def _layered(tensors: Sequence[tuple[str, ...]], shape: tuple[int, ...], *, stacked: bool) -> ParamRecipe:
    return ParamRecipe(tuple(tensors), (len(tensors), *shape) if stacked else shape, stacked)


def _pooled(tensors: Sequence[tuple[str, ...]], shape: tuple[int, ...]) -> ParamRecipe:
    experts, *rest = shape
    whole = (len(tensors) * experts, *rest)
    if EXPERT not in tensors[0][0]:
        return ParamRecipe((tuple(name for names in tensors for name in names),), whole)
    numbered = [tuple(name.replace(EXPERT, str(e)) for name in names) for names in tensors for e in range(experts)]
    return ParamRecipe(tuple(numbered), whole, stacked=True)


def _tensors(path: str, layer: int, fused: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    module, _, leaf = path.rpartition(".")
    return tuple(f"model.layers.{layer}.{part}.{leaf}" for part in fused.get(module, (module,)))
