"""The GPU kernels, interpreted on CPU, against NumPy; `tools/attention_bar.py` does so for many more shapes.

That a GPU's compiler takes them is shown in test_pallas_lowers.py.
"""

from __future__ import annotations

import functools
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgl_jax.engine.attention.pallas_gpu import sizes
from tools.attention_bar import Kernel, error_of, tolerance
from tools.attention_cases import NUM_ROWS, Shape, make_batch, packed

SHAPES = {
    "mixed": Shape(head_dim=80, dtype="bfloat16", heads=14, kv_heads=2),
    "mixed with all options": Shape(head_dim=16, window=24, softcap=2.5, sinks=True, dtype="int8"),
    "decode with all options": Shape(head_dim=64, window=140, softcap=2.5, sinks=True, single=True),
    "decode of a latent": Shape(
        page_size=8, heads=20, kv_heads=1, head_dim=272, shared=True, single=True, dtype="float8_e4m3fn"
    ),
}


@functools.cache
def kernel(name):
    return Kernel(SHAPES[name])


@pytest.mark.parametrize("name", SHAPES)
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_agrees_with_dense_attention(name, data):
    shape = SHAPES[name]
    lengths = packed(data.draw(st.lists(st.integers(0, shape.most_new), min_size=NUM_ROWS, max_size=NUM_ROWS)))
    contexts = np.asarray([data.draw(st.integers(0, shape.room - n)) for n in lengths])
    batch = make_batch(np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))), shape, lengths, contexts)
    # On so small a device one program takes all of a row's keys, and there are no shares to merge.
    with mock.patch.object(sizes, "_MULTIPROCESSORS", 1 if name == "mixed" else 132):
        assert error_of(kernel(name), batch) < tolerance(shape)
