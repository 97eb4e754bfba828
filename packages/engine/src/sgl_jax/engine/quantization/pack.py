"""Packs float matrices on the host, by rounding to the nearest code. No jax here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sgl_jax.engine.quantization.formats import GROUP, PackFormat

Array = npt.NDArray[Any]
Parts = dict[str, Array]

VALUES_AT_A_TIME = 1 << 18
"""What is between matrix and codes stays in the processor's cache."""


def pack(values: Array, form: PackFormat) -> Parts:
    """The parts of a matrix, see `formats`.

    Args:
        values: float[..., out, in] of any float type, with `form.fits(values.shape)`.
        form: what to make of it.
    """
    if values.ndim > 2:
        shapes = form.parts(values.shape)
        flat = pack(values.reshape(-1, values.shape[-1]), form)
        return {name: part.reshape(shapes[name][0]) for name, part in flat.items()}
    rows, columns = values.shape
    parts: Parts = {name: np.empty(shape, dtype) for name, (shape, dtype) in form.parts(values.shape).items()}
    stride = max(VALUES_AT_A_TIME // columns, 1)
    for start in range(0, rows, stride):
        block = slice(start, start + stride)
        for name, packed in _pack_rows(values[block].astype(np.float32), form).items():
            parts[name][block] = packed
    return parts


def widen(parts: Mapping[str, Array], form: PackFormat, wanted: PackFormat) -> Mapping[str, Array]:
    """Parts in another form, value for value, where `form.widens_to(wanted)`."""
    if form == wanted:
        return parts
    # A code's zero is the minimum of a form that counts from there; eight times a float16 is exact.
    return {**parts, "minima": parts["scales"] * np.float16(-form.zero)}


def _pack_rows(values: Array, form: PackFormat) -> Parts:
    rows, columns = values.shape
    groups = values.reshape(rows, -1, GROUP) if form.grouped else values[:, None, :]
    if form.has_minima:
        low = groups.min(-1, keepdims=True).astype(np.float16)
        scale = ((groups.max(-1, keepdims=True) - low.astype(np.float32)) / form.limit).astype(np.float16)
        groups = groups - low.astype(np.float32)
    else:
        scale = np.abs(groups).max(-1, keepdims=True) / np.float32(form.limit)
        scale = scale.astype(np.float16) if form.grouped else scale
    # What is divided is the scale as stored. A group of zeros has the scale 0 and any codes.
    divisor = np.where(scale == 0, np.float32(1), scale.astype(np.float32))
    codes = _round((groups / divisor).reshape(rows, columns), form)
    parts = {"codes": _pair(codes) if form.paired else codes, "scales": scale.reshape(rows, -1)}
    if form.has_minima:
        parts["minima"] = low.reshape(rows, -1)
    if not form.grouped:
        parts["scales"] = parts["scales"][:, 0]
    return parts


def _round(quotients: Array, form: PackFormat) -> Array:
    lowest = 0 if form.has_minima else -form.limit
    bounded = np.clip(quotients, lowest, form.limit)
    if form.meaning is not None:
        return bounded.astype(form.meaning).view(form.code_dtype)  # rounds to the nearest float8
    return (np.rint(bounded) + form.zero).astype(form.code_dtype)


def _pair(codes: Array) -> Array:
    rows, columns = codes.shape
    halves = codes.reshape(rows, -1, 2, GROUP // 2)
    packed: Array = (halves[:, :, 0] | halves[:, :, 1] << 4).reshape(rows, columns // 2)
    return packed
