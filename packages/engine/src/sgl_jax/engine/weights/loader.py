"""Fills the model's parameters from a checkpoint, one at a time and piece by piece.

A parameter is often several checkpoint tensors: q, k and v laid end to end, or one tensor of every
layer stacked on a new leading axis. Each piece is read, cast or packed, and put in place before the
next one is read, so that the host holds one parameter (packed, if it is to be) and one tensor at most
besides what is already placed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.plan import ProgressCallback
from sgl_jax.engine.quantization.formats import PackFormat
from sgl_jax.engine.quantization.pack import pack, widen
from sgl_jax.engine.quantization.tiled import Tiling, tile, tile_by_layer
from sgl_jax.engine.weights.source import HostArray, TensorSource

DeviceArray = TypeVar("DeviceArray")

IGNORABLE = (
    r".*\.rotary_emb\.inv_freq",  # a buffer that old exporters saved
    r".*\.self_attn\.(masked_)?bias",  # the causal mask, likewise
    r"lm_head\.weight",  # a copy of the embedding, where the two are tied (else a recipe asks for it)
    r"rope_(freqs|factors_long|factors_short)\.weight",  # GGUF: already read as rope scaling
)
"""Tensors that a checkpoint may hold although the model asks for none of them."""

MAX_LISTED = 10
ALIGNMENT = 64
"""What JAX wants of a host buffer that it takes over on the CPU without copying it."""


class ParamRecipe(NamedTuple):
    """How one parameter is made from checkpoint tensors.

    Attributes:
        sources: outer: one entry, or one a layer when `stacked`; inner: concatenated on axis 0.
        shape: of the parameter, with the leading layer axis when `stacked`.
        stacked: whether the outer entries are stacked on a new leading axis.
        packing: the form in which it is kept; it is then several arrays, see `quantization.formats`.
        dtype: its type, where that is not the model's.
        tiling: how it is arranged for native kernels, if it is; it is then several arrays, see `quantization.tiled`.
        layers: how many layers the first axis of a tiled parameter counts; None where it counts none.
    """

    sources: tuple[tuple[str, ...], ...]
    shape: tuple[int, ...]
    stacked: bool = False
    packing: PackFormat | None = None
    dtype: np.dtype[Any] | None = None
    tiling: Tiling | None = None
    layers: int | None = None


def load_params(
    source: TensorSource,
    recipes: Mapping[str, ParamRecipe],
    dtype: npt.DTypeLike,
    *,
    place: Callable[[str, HostArray], DeviceArray],
    on_progress: ProgressCallback | None = None,
) -> dict[str, DeviceArray]:
    """Reads all parameters.

    Args:
        source: the checkpoint.
        recipes: parameter name -> where it comes from.
        dtype: of all parameters that are not packed (`ml_dtypes.bfloat16` for bfloat16).
        place: brings a host array to the device. The array is its own to keep: it is never written again.
        on_progress: hears the number of tensors read, after each parameter.

    Returns:
        Parameter name -> what `place` returned, in the order of `recipes`. A packed or tiled parameter is several
        entries in alphabetical order, `name.codes` to `name.scales`.

    Raises:
        ModelLoadError: before anything is read, listing every missing, misshapen and surplus tensor.
    """
    check_tensors(source, recipes)
    total = sum(len(names) for recipe in recipes.values() for names in recipe.sources)
    done = 0
    placed: dict[str, DeviceArray] = {}
    for name, recipe in recipes.items():
        for part, array in _assemble(source, recipe, np.dtype(dtype)).items():
            leaf = f"{name}.{part}" if part else name
            placed[leaf] = place(leaf, array)
        done += sum(len(names) for names in recipe.sources)
        if on_progress is not None:
            on_progress(done, total)
    return placed


def check_tensors(source: TensorSource, recipes: Mapping[str, ParamRecipe]) -> None:
    """Compares names and shapes without reading a tensor.

    Raises:
        ModelLoadError: listing every missing, misshapen and surplus tensor.
    """
    present = source.names()
    wanted = {name for recipe in recipes.values() for names in recipe.sources for name in names}
    misshapen = [
        problem
        for recipe in recipes.values()
        for names in recipe.sources
        if present.issuperset(names) and (problem := _shape_problem(source, names, _slice_shape(recipe)))
    ]
    surplus = [name for name in present - wanted if not any(re.fullmatch(pattern, name) for pattern in IGNORABLE)]
    complaints = [
        _complaint("missing", sorted(wanted - present)),
        _complaint("of the wrong shape", misshapen),
        _complaint("not part of this architecture", sorted(surplus)),
    ]
    if any(complaints):
        raise ModelLoadError("The weights do not fit config.json." + "".join(complaints))


def _slice_shape(recipe: ParamRecipe) -> tuple[int, ...]:
    """The shape of one outer entry."""
    if not recipe.stacked:
        assert len(recipe.sources) == 1, recipe
        return recipe.shape
    assert len(recipe.sources) == recipe.shape[0], recipe
    return recipe.shape[1:]


def _shape_problem(source: TensorSource, names: Sequence[str], expected: tuple[int, ...]) -> str | None:
    shapes = [source.shape(name) for name in names]
    if all(len(shape) == len(expected) and shape[1:] == expected[1:] for shape in shapes) and (
        sum(shape[0] for shape in shapes) == expected[0]
    ):
        return None
    got = " + ".join(str(list(shape)) for shape in shapes)
    return f"{' + '.join(names)}: got {got}, expected {list(expected)}{' in all' if len(names) > 1 else ''}"


def _complaint(what: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    shown = [*lines[:MAX_LISTED], *([f"… and {len(lines) - MAX_LISTED} more"] if len(lines) > MAX_LISTED else [])]
    return f"\n{len(lines)} {what}:" + "".join(f"\n- {line}" for line in shown)


def _assemble(source: TensorSource, recipe: ParamRecipe, dtype: np.dtype[Any]) -> dict[str, HostArray]:
    """The arrays of one parameter: its parts when it is packed or tiled, else one named by an empty string."""
    if recipe.tiling is not None:
        return _assemble_tiles(source, recipe, recipe.tiling, dtype)
    plain = {"": (recipe.shape, recipe.dtype or dtype)}
    parts = recipe.packing.parts(recipe.shape) if recipe.packing else plain
    whole = {part: _aligned_empty(*form) for part, form in parts.items()}
    for index, names in enumerate(recipe.sources):
        row = 0
        for name in names:
            rows = source.shape(name)[0]
            for part, values in _read(source, name, recipe.packing).items():
                target = whole[part][index] if recipe.stacked else whole[part]
                np.copyto(target[row : row + rows], values, casting="unsafe")
            row += rows
    return whole


def _assemble_tiles(
    source: TensorSource, recipe: ParamRecipe, tiling: Tiling, dtype: np.dtype[Any]
) -> dict[str, HostArray]:
    plain = recipe._replace(tiling=None)
    if not recipe.stacked:
        return tile(_assemble(source, plain, dtype), recipe.shape, tiling, recipe.layers)
    one = plain._replace(shape=recipe.shape[1:], stacked=False)
    entries = (_assemble(source, one._replace(sources=(names,)), dtype) for names in recipe.sources)
    return tile_by_layer(entries, recipe.shape, tiling, recipe.layers)


def _read(source: TensorSource, name: str, packing: PackFormat | None) -> Mapping[str, HostArray]:
    if packing is None:
        return {"": source.read(name)}
    stored = source.packing(name)
    if stored is None or not stored.widens_to(packing):
        return pack(source.read(name), packing)
    return widen(source.read_packed(name), stored, packing)


def _aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> HostArray:
    num_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(num_bytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + num_bytes].view(dtype).reshape(shape)
