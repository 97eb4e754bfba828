"""MXFP4, microscaling with four-bit floats (OCP 2023, "Microscaling Formats (MX) Specification", section 5)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CODES = np.asarray([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
"""Values of the sixteen four-bit floats: one bit of sign, two of exponent, one of mantissa."""
SCALE_BIAS = 127
_PAIRS = np.stack([np.tile(CODES, 16), np.repeat(CODES, 16)], axis=1)
"""Both values of a byte, the low half first."""


def dequantize(blocks: npt.NDArray[np.uint8], scales: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Values of packed rows.

    Args:
        blocks: uint8[..., G, 16], G groups of 32 values a row.
        scales: uint8[..., G], the exponent of each group's scale.

    Returns:
        float32[..., 32 G].
    """
    values = _PAIRS[blocks].reshape(*blocks.shape[:-1], -1)
    exponent = scales.astype(np.int32) - SCALE_BIAS
    return np.ldexp(values, exponent[..., None]).reshape(*blocks.shape[:-2], -1)
