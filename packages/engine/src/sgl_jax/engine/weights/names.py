"""Which checkpoint tensors make up each parameter of ours.

Parameter paths are Hugging Face tensor names already, less the prefix; only fused parameters and
stacked layers need saying.
"""

from __future__ import annotations

from collections.abc import Mapping

from sgl_jax.engine.weights.loader import ParamRecipe

Shapes = Mapping[str, tuple[int, ...]]


def decoder_recipes(
    ends: Shapes, layer: Shapes, *, num_layers: int, fused: Mapping[str, tuple[str, ...]], stacked: bool
) -> dict[str, ParamRecipe]:
    """Recipes for all parameters of a decoder, in the order in which the step wants them.

    Args:
        ends: parameters outside the layers, path -> shape.
        layer: parameters of one layer.
        num_layers: how many layers there are.
        fused: module path -> the checkpoint's modules, concatenated on the output axis.
        stacked: whether a parameter carries all layers on a new first axis.
    """
    recipes: dict[str, ParamRecipe] = {}
    for path, shape in ends.items():
        name = path if path.startswith("lm_head.") else f"model.{path}"
        recipes[name] = ParamRecipe(sources=((name,),), shape=shape, stacked=False)
    if stacked:
        for path, shape in layer.items():
            sources = tuple(_sources(path, index, fused) for index in range(num_layers))
            recipes[f"model.layers.*.{path}"] = ParamRecipe(sources=sources, shape=(num_layers, *shape), stacked=True)
        return recipes
    for index in range(num_layers):
        for path, shape in layer.items():
            sources = (_sources(path, index, fused),)
            recipes[f"model.layers.{index}.{path}"] = ParamRecipe(sources=sources, shape=shape, stacked=False)
    return recipes


def _sources(path: str, index: int, fused: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    module, _, leaf = path.rpartition(".")
    return tuple(f"model.layers.{index}.{part}.{leaf}" for part in fused.get(module, (module,)))
