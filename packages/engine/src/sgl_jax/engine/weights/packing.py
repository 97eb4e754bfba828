"""Which parameters are kept packed, and in which form."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from sgl_jax.engine.quantization.formats import ON_LOAD, PackFormat
from sgl_jax.engine.weights.loader import ParamRecipe
from sgl_jax.engine.weights.names import leaf_path
from sgl_jax.engine.weights.source import TensorSource

MIN_ROWS = 16
"""Fewer outputs are gates and the like: no bytes to win, and much to lose."""


def choose_packings(
    quantization: str, recipes: Mapping[str, ParamRecipe], packable: Collection[str], source: TensorSource | None
) -> dict[str, PackFormat]:
    """Forms for a model's parameters.

    Args:
        quantization: `int8`, `int4` or `fp8` pack the matrices of the layers, but neither embedding nor output head;
            `gguf` keeps every matrix as the file holds it; anything else packs nothing.
        recipes: of all parameters, unpacked.
        packable: leaf paths of those that may be packed.
        source: the checkpoint; None where there is none.

    Returns:
        Leaf path -> form, the same in all layers. A matrix is left out if its rows are not whole groups, if it has
        too few of them to matter, or if the file holds its parts in forms that do not go together.
    """
    found: dict[str, PackFormat] = {}
    present = source.names() if source else frozenset()
    for path in packable:
        own = {name: recipe for name, recipe in recipes.items() if leaf_path(name) == path}
        if quantization == "gguf" and source is not None:
            tensors = {name for recipe in own.values() for names in recipe.sources for name in names}
            # What is missing is told by the loader, all at once.
            form = _common_form({source.packing(name) if name in present else None for name in tensors})
        elif quantization in ON_LOAD and all(name.startswith("model.layers.") for name in own):
            form = ON_LOAD[quantization]
        else:
            form = None
        if own and form is not None and all(_worthwhile(recipe.shape, form) for recipe in own.values()):
            found[path] = form
    return found


def _worthwhile(shape: tuple[int, ...], form: PackFormat) -> bool:
    return form.fits(shape) and shape[-2] >= MIN_ROWS


def packed_recipes(recipes: Mapping[str, ParamRecipe], forms: Mapping[str, PackFormat]) -> dict[str, ParamRecipe]:
    """The recipes, with these forms."""
    return {name: recipe._replace(packing=forms.get(leaf_path(name))) for name, recipe in recipes.items()}


def _common_form(forms: Iterable[PackFormat | None]) -> PackFormat | None:
    """The form that holds tensors of all these forms, value for value."""
    known = list(forms)
    if None in known:
        return None
    whole = [form for form in known if form is not None]
    return next((wide for wide in whole if all(form.widens_to(wide) for form in whole)), None)
