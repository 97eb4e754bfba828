from __future__ import annotations

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from sgl_jax.engine.weights import dequantize as module
from sgl_jax.engine.weights.dequantize import dequantize

KINDS = [
    Kind.F16,
    Kind.BF16,
    Kind.Q4_0,
    Kind.Q4_1,
    Kind.Q5_0,
    Kind.Q5_1,
    Kind.Q8_0,
    Kind.Q2_K,
    Kind.Q3_K,
    Kind.Q4_K,
    Kind.Q5_K,
    Kind.Q6_K,
    Kind.IQ4_NL,
    Kind.IQ4_XS,
    Kind.MXFP4,
]


def random_blocks(kind: Kind, rows: int) -> np.ndarray:
    """Any bytes are a valid tensor, but scales that are no numbers would not compare equal."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    per_row = 256 // block
    blocks = np.random.default_rng(kind.value).integers(0, 256, (rows, per_row * size), np.uint8)
    blocks &= 0xBB  # clears an exponent bit of every float16 and bfloat16: finite
    return blocks


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_equals_the_gguf_package_to_the_last_bit(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VALUES_AT_A_TIME", 7 * 32)
    blocks = random_blocks(kind, rows=5)
    expected = gguf.dequantize(blocks, kind)
    assert np.isfinite(expected).all()
    found = dequantize(blocks.reshape(-1), kind, (5, 256))
    assert found.dtype == np.float32
    assert found.tobytes() == expected.tobytes()


def test_plain_floats_are_not_copied() -> None:
    data = np.arange(6, dtype=np.float32).view(np.uint8)
    found = dequantize(data, Kind.F32, (2, 3))
    assert np.shares_memory(found, data)
    assert found.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_format_that_nobody_can_read() -> None:
    block, size = gguf.GGML_QUANT_SIZES[Kind.Q8_1]
    with pytest.raises(NotImplementedError):
        dequantize(np.zeros(size, np.uint8), Kind.Q8_1, (block,))
