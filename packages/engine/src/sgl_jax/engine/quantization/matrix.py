"""A packed matrix as an NNX module, standing where a module's float parameter stood."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from sgl_jax.engine.quantization.formats import GROUP, PackFormat
from sgl_jax.engine.quantization.tiled import TiledMatrix, Tiling

M = TypeVar("M", bound=nnx.Module)
Parts = Mapping[str, jax.Array]
Form = PackFormat | Tiling
"""What may become of a parameter."""


class Packed(NamedTuple):
    """One matrix [out, in].

    Attributes:
        parts: its arrays, see `formats`.
        form: how it is packed.
        dtype: what its values become for a product.
        product: the device's kernels for it, if it has any.
    """

    parts: Parts
    form: PackFormat
    dtype: jnp.dtype
    product: PackedProduct | None = None


class PackedProduct(Protocol):
    """A device's kernels for products with packed matrices."""

    def __call__(self, x: jax.Array, packed: Packed, dtype: jnp.dtype) -> jax.Array | None:
        """float[T, in] times packed[out, in] transposed: dtype[T, out], summed in float32; None is for plain XLA."""


class PackedMatrix(nnx.Module):
    """A matrix [out, in], or matrices [E, out, in] of as many experts, in parts.

    Args:
        shape: of the whole.
        form: how it is packed.
        dtype: what its values become for a product, or in a row that is looked up.
        product: the device's kernels for products with it, if it has any.
    """

    def __init__(
        self, shape: tuple[int, ...], form: PackFormat, *, dtype: jnp.dtype, product: PackedProduct | None = None
    ) -> None:
        self.form = form
        self.dtype = dtype
        self.product = product
        self.names = tuple(form.parts(shape))
        for name, (part_shape, part_dtype) in form.parts(shape).items():
            setattr(self, name, nnx.Param(jnp.zeros(part_shape, part_dtype)))

    def whole(self) -> Packed:
        """All of it."""
        parts = {name: getattr(self, name)[...] for name in self.names}
        return Packed(parts, self.form, self.dtype, self.product)

    def one(self, index: jax.Array) -> Packed:
        """int32[] -> the matrix of one expert."""
        parts = self.whole().parts.items()
        taken = {name: lax.dynamic_index_in_dim(part, index, keepdims=False) for name, part in parts}
        return Packed(taken, self.form, self.dtype, self.product)

    def rows(self, indices: jax.Array) -> jax.Array:
        """int32[T] -> dtype[T, in]; indices past the end are clamped. Only these rows are unpacked."""
        parts = self.whole().parts.items()
        taken = {name: jnp.take(part, indices, axis=0, mode="clip") for name, part in parts}
        return unpack(taken, self.form).astype(self.dtype)


def meant(codes: jax.Array, form: PackFormat) -> jax.Array:
    """Codes in the type that their bits mean."""
    return codes if form.meaning is None else lax.bitcast_convert_type(codes, form.meaning)


def unpack(parts: Parts, form: PackFormat) -> jax.Array:
    """Parts of R rows -> float32[R, in]."""
    codes = parts["codes"]
    rows = codes.shape[0]
    if not form.grouped:
        return meant(codes, form).astype(jnp.float32) * parts["scales"][:, None]
    if form.paired:
        halves = codes.reshape(rows, -1, GROUP // 2)
        groups = jnp.concatenate([halves & 0x0F, halves >> 4], axis=-1)
    else:
        groups = codes.reshape(rows, -1, GROUP)
    values = (groups.astype(jnp.float32) - form.zero) * parts["scales"].astype(jnp.float32)[..., None]
    if form.has_minima:
        values = values + parts["minima"].astype(jnp.float32)[..., None]
    return values.reshape(rows, -1)


def packable(module: nnx.Module) -> frozenset[str]:
    """Dotted paths of the parameters that may be packed: those that their modules name in `PACKABLE`."""
    return frozenset(
        ".".join(map(str, (*path, name)))
        for path, part in nnx.iter_modules(module)
        for name in getattr(part, "PACKABLE", ())
    )


def with_packed(module: M, forms: Mapping[str, Form], product: PackedProduct | None = None) -> M:
    """The module, with some of its matrices packed or tiled.

    Args:
        module: changed in place; its parameters may be abstract.
        forms: dotted path of a parameter -> what becomes of it; paths that the module lacks are passed over.
        product: the device's kernels for packed matrices, if it has any.
    """
    for path in packable(module) & forms.keys():
        *owners, name = path.split(".")
        owner = functools.reduce(getattr, owners, module)
        parameter = getattr(owner, name)
        setattr(owner, name, _matrix(parameter.shape, forms[path], parameter.dtype, product))
    return module


def _matrix(
    shape: tuple[int, ...], form: Form, dtype: jnp.dtype, product: PackedProduct | None
) -> PackedMatrix | TiledMatrix:
    if isinstance(form, Tiling):
        return TiledMatrix(shape, form, dtype=dtype)
    return PackedMatrix(shape, form, dtype=dtype, product=product)
