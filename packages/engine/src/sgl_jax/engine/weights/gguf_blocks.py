"""GGUF blocks taken apart into the parts of a packed matrix: bytes move, no value changes.

Formats: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gguf.constants import GGMLQuantizationType

from sgl_jax.engine.quantization.formats import GROUP, Q4_0, Q4_1, Q8_0, PackFormat

PACKED = {
    GGMLQuantizationType.Q8_0: Q8_0,
    GGMLQuantizationType.Q4_0: Q4_0,
    GGMLQuantizationType.Q4_1: Q4_1,
}
"""The types whose blocks can stay as they are."""

_HALF_BYTES = 2


def split_blocks(data: npt.NDArray[np.uint8], form: PackFormat, shape: tuple[int, ...]) -> dict[str, npt.NDArray[Any]]:
    """The parts of one tensor, see `quantization.formats`.

    Args:
        data: uint8[bytes], all blocks of the tensor one after another: scale, minimum where there is one, codes.
        form: one of `PACKED`.
        shape: of the tensor, [out, in].
    """
    rows, columns = shape
    blocks = data.reshape(rows, columns // GROUP, -1)
    scalars = ("scales", "minima") if form.has_minima else ("scales",)
    parts: dict[str, npt.NDArray[Any]] = {}
    for index, name in enumerate(scalars):
        field = blocks[:, :, _HALF_BYTES * index : _HALF_BYTES * (index + 1)]
        parts[name] = np.ascontiguousarray(field).view("<f2")[:, :, 0]
    codes = np.ascontiguousarray(blocks[:, :, _HALF_BYTES * len(scalars) :])
    parts["codes"] = codes.view(form.code_dtype).reshape(rows, -1)
    return parts
