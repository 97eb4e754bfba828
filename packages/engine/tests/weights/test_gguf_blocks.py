from __future__ import annotations

import gguf
import jax.numpy as jnp
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from sgl_jax.engine.quantization.matrix import unpack
from sgl_jax.engine.weights.gguf_blocks import PACKED, split_blocks


@pytest.mark.parametrize("kind", PACKED, ids=lambda kind: kind.name)
def test_parts_mean_what_the_blocks_mean_to_the_last_bit(kind: Kind) -> None:
    form, (_, block_bytes) = PACKED[kind], gguf.GGML_QUANT_SIZES[kind]
    blocks = np.random.default_rng(kind.value).integers(0, 256, (7, 3 * block_bytes), np.uint8)
    blocks &= 0xBB  # clears an exponent bit of every float16: finite
    parts = split_blocks(blocks.reshape(-1), form, (7, 96))
    assert {name: (part.shape, part.dtype) for name, part in parts.items()} == form.parts((7, 96))
    assert sum(part.nbytes for part in parts.values()) == blocks.nbytes
    found = np.asarray(unpack({name: jnp.asarray(part) for name, part in parts.items()}, form))
    np.testing.assert_array_equal(found, gguf.dequantize(blocks, kind))
