"""A model spread over devices: the step of one share, and where its parameters and pages go."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, NamedSharding

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.errors import ConfigError
from sgl_jax.engine.execution.step import StepModel
from sgl_jax.engine.models.base import Template
from sgl_jax.engine.parallel.mesh import along, everywhere
from sgl_jax.engine.parallel.modules import join
from sgl_jax.engine.parallel.split import HostArray, Split, find_split, place
from sgl_jax.engine.quantization.formats import GROUP, PackFormat
from sgl_jax.engine.weights.names import leaf_path

M = TypeVar("M", bound=nnx.Module)


class Spread(NamedTuple):
    """How an engine's model is spread.

    Attributes:
        mesh: the devices.
        share: a device's share of the model.
        model: the step of a share, without packed matrices.
    """

    mesh: Mesh
    share: ModelSpec
    model: StepModel

    @property
    def pages(self) -> NamedSharding:
        """Where a pool [P, S, K, D] lies: key heads are cut, unless one serves all heads of all devices."""
        return NamedSharding(self.mesh, along(-2, 4)) if self.share.cache.values else everywhere(self.mesh)


def share_template(build: Callable[..., M], spec: ModelSpec, share: ModelSpec, dtype: jnp.dtype) -> Template[M]:
    """The template of a share of a module, which knows where it has to sum with others."""
    whole = shapes(Template(functools.partial(build, spec, dtype=dtype)))
    return Template(lambda: join(build(share, dtype=dtype), whole))


def shapes(template: Template[M]) -> dict[str, tuple[int, ...]]:
    """The shape of each of a template's leaves."""
    return {name: leaf.shape for name, leaf in template.leaves.items()}


def all_shapes(model: StepModel) -> dict[str, tuple[int, ...]]:
    """The shapes of all leaves of a model, by the path in their module; those of one path have one shape."""
    found = shapes(model.ends)
    for run in model.runs:
        found |= shapes(run.layer)
    return found


def check_packings(whole: StepModel, share: StepModel, forms: Mapping[str, PackFormat], count: int) -> None:
    """Sees to it that shares of packed matrices are whole groups.

    Args:
        whole, share: without packed matrices.
        forms: leaf path -> form, of what is to be packed.
        count: of shares.

    Raises:
        ConfigError: naming the first matrix that cannot be packed and cut.
    """
    shapes_of_whole, shapes_of_share = all_shapes(whole), all_shapes(share)
    for path, form in forms.items():
        if not form.fits(shapes_of_share[path]):
            values, own = shapes_of_whole[path][-1], shapes_of_share[path][-1]
            raise ConfigError(
                f"--tp-size={count}: {path} has rows of {values} values, packed as {form.name} in groups of {GROUP} "
                f"that shares of {own} values would cut through. Choose another --tp-size, or "
                "--quantization int8, fp8 or none."
            )


def find_splits(whole: StepModel, share: StepModel, specs: tuple[ModelSpec, ModelSpec]) -> dict[str, Split | None]:
    """How each leaf is cut, by the path in its module."""
    shares = all_shapes(share)
    return {leaf: find_split(leaf, shape, shares[leaf], specs) for leaf, shape in all_shapes(whole).items()}


def put_shares(splits: Mapping[str, Split | None], mesh: Mesh, name: str, array: HostArray) -> jax.Array:
    """Brings a parameter, by its recipe's name, to all devices."""
    return place(array, splits[leaf_path(name)], mesh)


def describe(devices: Sequence[jax.Device]) -> str:
    """What computes, for people."""
    count = f"{len(devices)} × " if len(devices) > 1 else ""
    return f"{count}{devices[0].platform} ({devices[0].device_kind})"
