"""Packed matrices as the kernels see them: [out, groups, bytes], with a scale for so many groups or for the row."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.pallas import triton

from sgl_jax.engine.quantization.formats import GROUP, PackFormat
from sgl_jax.engine.quantization.matrix import Packed

Ref = Any
"""A reference into device memory, as Pallas hands it to a kernel."""


class Groups(NamedTuple):
    """A matrix [N, K] in groups of 32 values: arrays outside of a kernel, references inside.

    Attributes:
        codes: [N, G, W]: a group is 32 bytes, or 16 where two codes share a byte.
        scales: float16[N, S], each that of G / S groups; or float32[N].
        minima: like `scales`, or None.
    """

    codes: jax.Array
    scales: jax.Array
    minima: jax.Array | None


def groups_of(packed: Packed) -> Groups:
    """The parts of a matrix, see `formats`; scales may be those of any whole number of groups, too."""
    codes = packed.parts["codes"]
    width = GROUP // 2 if packed.form.paired else GROUP
    return Groups(codes.reshape(codes.shape[0], -1, width), packed.parts["scales"], packed.parts.get("minima"))


def fetch(ref: Ref, where: tuple[jax.Array, ...], mask: jax.Array) -> jax.Array:
    """Elements of a reference, zeros outside the mask, whose shape is that of the result."""
    return triton.load(ref.at[where], mask=mask, other=0)


def halves(codes: jax.Array, form: PackFormat) -> tuple[tuple[int, jax.Array], ...]:
    """Codes[..., W] apart: which value of its group the first one is, and float32[..., W]."""
    if form.meaning is not None:
        codes = lax.bitcast_convert_type(codes, form.meaning)
    if not form.paired:
        return ((0, codes.astype(jnp.float32)),)
    return (0, (codes & 0x0F).astype(jnp.float32)), (GROUP // 2, (codes >> 4).astype(jnp.float32))
