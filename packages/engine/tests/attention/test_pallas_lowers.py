"""What a GPU's compiler would be given, on a machine without one: every kind of kernel is Triton's, and nothing loops.

`python -m tools.attention_bar --lower` does so for all shapes of the bar, and `--compile` goes on to machine code.
"""

from __future__ import annotations

import re

import pytest

from tools.attention_cases import Shape
from tools.attention_lowering import lower_for_gpu

pytestmark = pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated:DeprecationWarning")

SHAPES = [
    Shape(heads=32, kv_heads=8, head_dim=128, dtype="bfloat16", query_dtype="bfloat16"),
    Shape(heads=14, head_dim=64, dtype="float8_e4m3fn", query_dtype="bfloat16", window=4096, softcap=30.0, sinks=True),
    Shape(heads=8, head_dim=80, dtype="int8", query_dtype="bfloat16", page_size=64),
    Shape(heads=8, head_dim=96, dtype="float8_e5m2", query_dtype="float32", window=128, sinks=True),
    Shape(heads=16, kv_heads=8, head_dim=256, softcap=50.0),
    Shape(heads=128, kv_heads=1, head_dim=576, dtype="bfloat16", query_dtype="bfloat16", shared=True),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_prompts_and_decoding_are_kernels_without_loops(shape):
    text = lower_for_gpu(shape).as_text()
    targets = re.findall(r"stablehlo\.custom_call @([\w.$]+)", text)
    kernels = [target for target in targets if target == "__gpu$xla.gpu.triton"]
    assert len(kernels) in (2, 3), "prompts; decoding; and the merging of its shares, if there are any"
    assert set(targets) == set(kernels)
    # A loop outside a kernel would be a loop outside the CUDA graph.
    assert "stablehlo.while" not in text
