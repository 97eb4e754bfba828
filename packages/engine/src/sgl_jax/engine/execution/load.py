"""The weights, from files onto the device: in which form each is kept, and what that takes."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from sgl_jax.engine.config.model_files import ModelFiles
from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.errors import ConfigError
from sgl_jax.engine.execution.devices import knows_float8
from sgl_jax.engine.execution.spread import Spread, check_packings, find_splits, put_shares, shapes
from sgl_jax.engine.execution.step import Params, StepModel
from sgl_jax.engine.layers.moe import Weights, at_rest
from sgl_jax.engine.models.base import Template
from sgl_jax.engine.models.decoder import DecoderLayer
from sgl_jax.engine.models.registry import model_class
from sgl_jax.engine.plan import ProgressCallback
from sgl_jax.engine.quantization.formats import FP8, PackFormat
from sgl_jax.engine.quantization.matrix import Form
from sgl_jax.engine.quantization.tiled import choose_tilings, stacked_leaves
from sgl_jax.engine.weights.adapters import adapt
from sgl_jax.engine.weights.dummy import dummy_params
from sgl_jax.engine.weights.loader import ParamRecipe, load_params
from sgl_jax.engine.weights.names import LayerShapes, decoder_recipes, leaf_path
from sgl_jax.engine.weights.packing import choose_packings, packed_recipes
from sgl_jax.engine.weights.source import open_source
from sgl_jax.engine.weights.tiles import tiled_params, tiled_recipes

logger = logging.getLogger(__name__)

_GIB = 1 << 30


def load_model(
    model: StepModel,
    files: ModelFiles,
    spec: ModelSpec,
    quantization: str,
    dtype: jnp.dtype,
    device: jax.Device,
    *,
    tiled_dtype: jnp.dtype | None = None,
    spread: Spread | None = None,
    free_bytes: int,
    on_progress: ProgressCallback,
) -> tuple[StepModel, Params, str]:
    """Decides which matrices are packed, and loads all parameters.

    Args:
        model: without packed matrices.
        files, spec: the checkpoint.
        quantization: as in `EngineConfig`.
        dtype: of what is neither packed nor tiled.
        device: where parameters go.
        tiled_dtype: of the matrices that are arranged for the CPU's native kernels; None arranges nothing.
        spread: over which devices, if over several, and the model of a share.
        free_bytes: memory that there is for them, at most.
        on_progress: hears of parameters read.

    Returns:
        The model, or that of a share, with the matrices that are packed, all its leaves in the order that
        `step.Params` names, and a sentence for people on the memory they take.

    Raises:
        ModelLoadError: the checkpoint is damaged or does not fit the model.
        ConfigError: `gguf` for a checkpoint of another kind, or packed matrices that cannot be cut.
    """
    runs = [LayerShapes(shapes(run.layer), run.length, run.pooled) for run in model.runs]
    fused = model_class(spec.architecture).FUSED
    recipes = decoder_recipes(shapes(model.ends), runs, fused=fused, stacked=model.stacked)
    own_types = _own_types([model.ends, *(run.layer for run in model.runs)], dtype)
    recipes = {name: recipe._replace(dtype=own_types.get(leaf_path(name))) for name, recipe in recipes.items()}
    source = None if files.kind == "dummy" else adapt(open_source(files), spec)

    wanted = _settle(quantization, files.kind, recipes, dtype, device.platform, free_bytes)
    packable = frozenset[str]().union(model.ends.packable, *(run.layer.packable for run in model.runs))
    forms = choose_packings(wanted, recipes, packable, source)
    recipes = packed_recipes(recipes, forms)
    tilings = {} if tiled_dtype is None else choose_tilings(packable, forms, tiled_dtype)
    pooled = frozenset[str]().union(*(run.pooled for run in model.runs))
    recipes = tiled_recipes(recipes, tilings, pooled)

    def settled(name: str, array: Weights) -> Weights:
        is_tiled = not {leaf_path(name), leaf_path(name.rpartition(".")[0])}.isdisjoint(tilings)
        return at_rest(array, device.platform) if ".experts." in name and not is_tiled else array

    kernels = None if FP8 in forms.values() and not knows_float8(device) else model.packed_product
    packed = with_forms(model._replace(packed_product=kernels), {**forms, **tilings})
    put: Callable[[str, npt.NDArray[np.generic]], jax.Array] = functools.partial(_put, device)
    if spread is not None:
        check_packings(model, spread.model, forms, spread.mesh.size)
        whole, packed = packed, with_forms(spread.model._replace(packed_product=kernels), forms)
        put = functools.partial(put_shares, find_splits(whole, packed, (spec, spread.share)), spread.mesh)

    def place(name: str, array: npt.NDArray[np.generic]) -> jax.Array:
        return put(name, settled(name, array))

    if source is not None:
        loaded = load_params(source, recipes, np.dtype(dtype), place=place, on_progress=on_progress)
    elif spread is not None:
        loaded = {}
        for done, (name, recipe) in enumerate(recipes.items(), 1):  # never all of them on one device
            made = dummy_params({name: recipe}, dtype, device)
            loaded |= {leaf: place(leaf, np.asarray(array)) for leaf, array in made.items()}
            on_progress(done, len(recipes))
    else:
        made = dummy_params(recipes, dtype, device, on_progress=on_progress)
        settled_all = {name: settled(name, leaf) for name, leaf in made.items()}
        loaded = tiled_params(settled_all, recipes, place=functools.partial(jax.device_put, device=device))
    params = tuple(loaded.values())
    return packed, params, _account(packed, params, forms)


def _put(device: jax.Device, name: str, array: npt.NDArray[np.generic]) -> jax.Array:
    # One at a time: arrays that wait for the bus to a device would fill the host's memory.
    return jax.block_until_ready(jax.device_put(array, device))


def _own_types(templates: Sequence[Template[Any]], dtype: jnp.dtype) -> dict[str, np.dtype[Any]]:
    """Leaves that are kept in another type than the model's, such as what chooses experts."""
    leaves = [leaf for template in templates for leaf in template.leaves.items()]
    return {path: np.dtype(leaf.dtype) for path, leaf in leaves if leaf.dtype != dtype}


def _settle(
    quantization: str, kind: str, recipes: Mapping[str, ParamRecipe], dtype: jnp.dtype, platform: str, free_bytes: int
) -> str:
    """What `auto` means here: a GGUF file's packing where it costs nothing, or where there is no room without it."""
    if quantization == "gguf" and kind != "gguf":
        raise ConfigError(
            "--quantization gguf keeps a .gguf file's own packing, and these weights are no .gguf file; "
            "use int8, int4 or fp8 to pack them while loading."
        )
    if quantization != "auto":
        return quantization
    if kind != "gguf":
        return "none"
    unpacked_bytes = sum(math.prod(recipe.shape) for recipe in recipes.values()) * dtype.itemsize
    return "gguf" if platform == "cpu" or unpacked_bytes > free_bytes / 2 else "none"


def with_forms(model: StepModel, forms: Mapping[str, Form]) -> StepModel:
    """The model with some matrices packed or tiled: leaf path -> what becomes of it."""
    if not forms:
        return model
    layers: dict[Template[DecoderLayer], Template[DecoderLayer]] = {}
    runs = []
    for run in model.runs:
        if run.layer not in layers:
            layers[run.layer] = run.layer.packed(forms, model.packed_product)
        layer = layers[run.layer]
        pooled = frozenset(leaf for leaf in layer.leaves if run.pooled & {leaf, leaf.rpartition(".")[0]})
        whole = frozenset(stacked_leaves(layer.leaves, forms))
        runs.append(run._replace(layer=layer, pooled=pooled | whole))
    return model._replace(ends=model.ends.packed(forms, model.packed_product), runs=tuple(runs))


def _account(model: StepModel, params: Params, forms: Mapping[str, PackFormat]) -> str:
    total = sum(leaf.nbytes for leaf in params)
    if not forms:
        return f"{total / _GIB:.2f} GiB"
    names = list(model.ends.leaves)
    for run in model.runs:
        names += list(run.layer.leaves) * (1 if model.stacked else run.length)
    packed = sum(leaf.nbytes for name, leaf in zip(names, params, strict=True) if name.rpartition(".")[0] in forms)
    kinds = " and ".join(sorted({form.name for form in forms.values()}))
    return f"{total / _GIB:.2f} GiB ({packed / _GIB:.2f} packed as {kinds}, {(total - packed) / _GIB:.2f} plain)"
