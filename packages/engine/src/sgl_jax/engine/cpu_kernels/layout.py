"""How matrices are arranged for the kernels, once, when they are loaded. `src/matmul.h` says what each form looks like.

No jax here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

FORMATS = ("q4_1", "q4_0", "q8_0", "bf16", "f32")
"""Names of the arranged forms; a form's number, which kernels are given, is its place."""
GROUPED = ("q4_1", "q4_0", "q8_0")
"""Forms in which groups of 32 neighbours along `in` have a scale of their own."""
COLUMNS = 16
GROUP = 32


def tiles_shape(form: str, shape: tuple[int, ...]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of matrices [..., out, in] once they are arranged."""
    *outer, rows, width = shape
    blocks = -(-rows // COLUMNS)
    if form == "bf16":
        return (*outer, blocks, -(-width // 2), 2 * COLUMNS), np.dtype(np.uint16)
    if form == "f32":
        return (*outer, blocks, width, COLUMNS), np.dtype(np.float32)
    group_bytes = {"q4_1": 320, "q4_0": 288, "q8_0": 544}[form]
    return (*outer, blocks, width // GROUP, group_bytes), np.dtype(np.uint8)


def arrange(form: str, parts: Mapping[str, Array], shape: tuple[int, ...], out: Array | None = None) -> Array:
    """Arranges matrices.

    Args:
        form: one of `FORMATS`.
        parts: `codes`, `scales` and perhaps `minima` as in `quantization.formats`, or `""` for a plain matrix of any
            float type.
        shape: [..., out, in] of the matrices.
        out: where to, as `tiles_shape` says and contiguous; None makes a new array.
    """
    tiled_shape, dtype = tiles_shape(form, shape)
    tiles = aligned_empty(tiled_shape, dtype) if out is None else out
    flat = tiles.reshape(-1, *tiled_shape[-3:])
    # Leading axes one by one: what lies between stays small.
    matrices = {name: part.reshape(flat.shape[0], shape[-2], -1) for name, part in parts.items()}
    for index, target in enumerate(flat):
        own = {name: _whole_blocks(matrix[index]) for name, matrix in matrices.items()}
        if form in GROUPED:
            _arrange_groups(form, own, target)
        else:
            _arrange_plain(own[""], target, pairs=form == "bf16")
    return tiles


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array that JAX takes over without copying it: one that begins at a multiple of 64 bytes."""
    num_bytes = math.prod(shape) * dtype.itemsize
    raw = np.empty(num_bytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + num_bytes].view(dtype).reshape(shape)


def _whole_blocks(matrix: Array) -> Array:
    missing = -matrix.shape[0] % COLUMNS
    return np.pad(matrix, ((0, missing), (0, 0))) if missing else matrix


def _arrange_groups(form: str, parts: Mapping[str, Array], target: Array) -> None:
    codes = np.ascontiguousarray(parts["codes"])
    blocks, groups, _ = target.shape
    if form == "q8_0":
        codes = codes.view(np.uint8) ^ 0x80  # counted from 128: products want unsigned codes
    quads = codes.view(np.uint32).reshape(blocks, COLUMNS, groups, -1)  # four codes, or four bytes of two codes each
    code_bytes = 4 * COLUMNS * quads.shape[-1]
    arranged = np.ascontiguousarray(quads.transpose(0, 2, 3, 1))
    target[:, :, :code_bytes] = arranged.view(np.uint8).reshape(blocks, groups, code_bytes)
    at = code_bytes
    for name in ("scales", "minima"):
        if name in parts:
            halfs = parts[name].reshape(blocks, COLUMNS, groups).transpose(0, 2, 1)
            target[:, :, at : at + 2 * COLUMNS] = np.ascontiguousarray(halfs).view(np.uint8)
            at += 2 * COLUMNS


def _arrange_plain(matrix: Array, target: Array, *, pairs: bool) -> None:
    if not pairs:
        target[...] = matrix.reshape(target.shape[0], COLUMNS, -1).transpose(0, 2, 1)
        return
    if matrix.shape[1] % 2:
        matrix = np.pad(matrix, ((0, 0), (0, 1)))
    rounded = np.ascontiguousarray(matrix.astype(ml_dtypes.bfloat16, copy=False))
    columns = rounded.view(np.uint32).reshape(target.shape[0], COLUMNS, -1).transpose(0, 2, 1)
    target[...] = np.ascontiguousarray(columns).view(np.uint16)
