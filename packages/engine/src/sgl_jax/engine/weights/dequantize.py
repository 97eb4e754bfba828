"""GGUF blocks to float32. The simplest formats are done here, all others by the gguf package, in large strides.

The package works on sixteen rows at a time, whatever their length. Rows of a matrix are short, which would spend
most of a model's loading time in Python; here a row is as many blocks as the processor's cache likes.
The results are equal to the last bit. Formats: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize as gguf_dequantize

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

VALUES_AT_A_TIME = 1 << 18
"""What is between input and output stays in the processor's cache."""

_HALF_BLOCK = 16


def dequantize(data: Bytes, kind: GGMLQuantizationType, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The values of one tensor.

    Args:
        data: uint8[bytes], all blocks of the tensor one after another.
        kind: their format.
        shape: of the result.

    Returns:
        float32[shape]; for F32 a view of `data`.

    Raises:
        NotImplementedError: the gguf package cannot read this format.
    """
    if kind == GGMLQuantizationType.F32:
        return data.view("<f4").reshape(shape)
    if kind == GGMLQuantizationType.F16:
        return data.view("<f2").astype(np.float32).reshape(shape)
    size, size_bytes = GGML_QUANT_SIZES[kind]
    blocks = data.reshape(-1, size_bytes)
    unpack = _UNPACK.get(kind) or functools.partial(_by_package, kind)
    out = np.empty((len(blocks), size), np.float32)
    stride = max(VALUES_AT_A_TIME // size, 1)
    for start in range(0, len(blocks), stride):
        part = slice(start, start + stride)
        unpack(blocks[part], out[part])
    return out.reshape(shape)


def _by_package(kind: GGMLQuantizationType, blocks: Bytes, out: Floats) -> None:
    out[:] = gguf_dequantize(blocks.reshape(1, -1), kind).reshape(out.shape)


def _half(blocks: Bytes, at: int) -> Floats:
    """The float16 at this byte of every block: float32[blocks, 1]."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def _q8_0(blocks: Bytes, out: Floats) -> None:
    """scale:f16, 32 signed bytes."""
    np.multiply(blocks[:, 2:].view(np.int8), _half(blocks, 0), out=out)


def _q4_0(blocks: Bytes, out: Floats) -> None:
    """scale:f16, 32 nibbles less eight."""
    _nibbles(blocks[:, 2:], out)
    out -= 8
    out *= _half(blocks, 0)


def _q4_1(blocks: Bytes, out: Floats) -> None:
    """scale:f16, minimum:f16, 32 nibbles."""
    _nibbles(blocks[:, 4:], out)
    out *= _half(blocks, 0)
    out += _half(blocks, 2)


def _nibbles(packed: Bytes, out: Floats) -> None:
    # The low halves of the sixteen bytes come first, then all the high halves.
    out[:, :_HALF_BLOCK] = packed & 0x0F
    out[:, _HALF_BLOCK:] = packed >> 4


_UNPACK: dict[GGMLQuantizationType, Callable[[Bytes, Floats], None]] = {
    GGMLQuantizationType.Q4_0: _q4_0,
    GGMLQuantizationType.Q4_1: _q4_1,
    GGMLQuantizationType.Q8_0: _q8_0,
}
