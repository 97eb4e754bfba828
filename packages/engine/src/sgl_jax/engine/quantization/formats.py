"""The packed forms of a weight matrix [out, in], as plain arrays. No jax here.

A value is `(code - zero) * scale`, plus a minimum where the format has one. Each part is an array of its own with the
output rows first, so that rows can be concatenated, permuted and sliced, and layers stacked on a further first axis:

    codes    int8 [out, in], or uint8 [out, in / 2] with two codes a byte, or uint8 [out, in] with the bits of a float8
    scales   float16 [out, in / 32], one a group of 32 neighbours along `in`; or float32 [out], one a row
    minima   float16 [out, in / 32]

Two codes share a byte as in GGUF: byte 16 g + j holds value 32 g + j in its low half and 32 g + 16 + j in its high
half, for j < 16. So the groups of Q8_0, Q4_0 and Q4_1 are GGUF's own blocks, taken apart but not changed, and the low
halves of a row are a matrix [in / 2] by themselves. Float8 is kept as uint8 because XLA on CPU turns a whole stack of
float8 into float16 in order to slice it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

GROUP = 32
"""Values that share a scale, in formats with groups."""


@dataclass(frozen=True, slots=True)
class PackFormat:
    """One packed form.

    Attributes:
        name: as in `FORMATS`.
        code_dtype: of the codes' array.
        meaning: the type of a code whose bits are kept in another one.
        limit: the largest magnitude of `code - zero` that packing uses.
        paired: two codes a byte.
        grouped: a float16 scale for each group; else a float32 scale for each row.
        zero: the code of zero, in formats without minima.
        has_minima: each group has a minimum, and codes count up from it.
    """

    name: str
    code_dtype: np.dtype[Any]
    limit: float
    meaning: np.dtype[Any] | None = None
    paired: bool = False
    grouped: bool = False
    zero: int = 0
    has_minima: bool = False

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array [..., out, in] can be packed: its rows must be whole groups."""
        return len(shape) >= 2 and (not self.grouped or shape[-1] % GROUP == 0)

    def widens_to(self, other: PackFormat) -> bool:
        """Whether everything in this form can be written in the other one, value for value."""
        return self == other or (self, other) == (Q4_0, Q4_1)

    def parts(self, shape: tuple[int, ...]) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape and dtype of each part of an array [..., out, in], in alphabetical order."""
        *outer, columns = shape
        groups = ((*outer, columns // GROUP), np.dtype(np.float16))
        parts = {"codes": ((*outer, columns // 2 if self.paired else columns), self.code_dtype)}
        if self.has_minima:
            parts["minima"] = groups
        parts["scales"] = groups if self.grouped else (tuple(outer), np.dtype(np.float32))
        return parts


_INT8, _UINT8 = np.dtype(np.int8), np.dtype(np.uint8)

INT8 = PackFormat("int8", _INT8, 127)
FP8 = PackFormat("fp8", _UINT8, 448, meaning=np.dtype(ml_dtypes.float8_e4m3fn))
Q8_0 = PackFormat("q8_0", _INT8, 127, grouped=True)
Q4_0 = PackFormat("q4_0", _UINT8, 7, paired=True, grouped=True, zero=8)
Q4_1 = PackFormat("q4_1", _UINT8, 15, paired=True, grouped=True, has_minima=True)

FORMATS: Mapping[str, PackFormat] = {form.name: form for form in (INT8, FP8, Q8_0, Q4_0, Q4_1)}
ON_LOAD: Mapping[str, PackFormat] = {"int8": INT8, "int4": Q4_1, "fp8": FP8}
"""`--quantization` -> what the linear layers are packed as. Four bits need minima: small models suffer without."""
