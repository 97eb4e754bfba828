"""Made-up weights: a model of the right shape and cost without a checkpoint, for benchmarks and tests."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import lax

from sgl_jax.engine.plan import ProgressCallback
from sgl_jax.engine.quantization.formats import PackFormat
from sgl_jax.engine.weights.loader import ParamRecipe


def dummy_params(
    recipes: Mapping[str, ParamRecipe],
    dtype: jnp.dtype,
    device: jax.Device,
    *,
    seed: int = 0,
    on_progress: ProgressCallback | None = None,
) -> dict[str, jax.Array]:
    """Random parameters, made on the device one after another; no host memory is used.

    Matrices are uniform with a variance of one over their input width, so that activations keep their size; norms
    are one and biases zero. Each parameter has its own stream, named after it.

    Args:
        recipes: as for `load_params`; only shapes count.
        dtype: of all parameters.
        device: where they live.
        seed: of all of them.
        on_progress: hears the number of parameters made.

    Returns:
        Parameter name -> array, in the order of `recipes`; several for a packed one, as from `load_params`.
    """
    made: dict[str, jax.Array] = {}
    with jax.default_device(device):
        # The hardware's own generator: an order of magnitude faster than the default, and any numbers will do.
        base = jax.random.key(seed, impl="rbg")
        for done, (name, recipe) in enumerate(recipes.items(), 1):
            key = jax.random.fold_in(base, zlib.crc32(name.encode()))
            if recipe.packing is None:
                made[name] = _leaf(key, name, recipe, recipe.dtype or dtype)
            else:
                made |= {f"{name}.{part}": leaf for part, leaf in _packed(key, recipe.shape, recipe.packing).items()}
            if on_progress is not None:
                on_progress(done, len(recipes))
    return made


def _leaf(key: jax.Array, name: str, recipe: ParamRecipe, dtype: jnp.dtype) -> jax.Array:
    if len(recipe.shape) - recipe.stacked == 1:
        return jnp.full(recipe.shape, 1 if "norm" in name else 0, dtype)
    half_width = (3.0 / recipe.shape[-1]) ** 0.5
    return jax.random.uniform(key, recipe.shape, dtype, -half_width, half_width)


def _packed(key: jax.Array, shape: tuple[int, ...], form: PackFormat) -> dict[str, jax.Array]:
    """Uniform codes, and scales and minima that give values their variance and a mean of zero."""
    half_width = (3.0 / shape[-1]) ** 0.5
    scale = half_width / (form.limit / 2 if form.has_minima else form.limit)
    constants = {"scales": scale, "minima": -half_width}
    made = {}
    for part, (part_shape, dtype) in form.parts(shape).items():
        if part in constants:
            made[part] = jnp.full(part_shape, constants[part], dtype)
        elif form.meaning is None:
            made[part] = jax.random.randint(key, part_shape, *_code_range(form), dtype)
        else:
            values = jax.random.uniform(key, part_shape, jnp.bfloat16, -form.limit, form.limit).astype(form.meaning)
            made[part] = lax.bitcast_convert_type(values, dtype)
    return made


def _code_range(form: PackFormat) -> tuple[int, int]:
    """Lowest code, and one past the highest; of whole bytes where two codes share one."""
    return (0, 256) if form.paired else (-int(form.limit), int(form.limit) + 1)
