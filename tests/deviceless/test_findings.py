"""How the compiler's output is read: on lines as it writes them."""

from __future__ import annotations

from tools.deviceless_findings import Findings, faults, layer_of, read_thunks, without_branches

DUMP = """\
000: kCommandBuffer [source       | next=136 (1)]
    001: kCopy         [source        | next=003 (2)] kCopy
    002: kCustomKernel [prev=001 (1)  | next=003 (1)] norm grid: [1, 1, 1] threads: [32, 1, 1]  shared_memory: 0 bytes
    003: kCustomKernel [prev=002 (1)  | next=004 (1)] gemm_fusion_dot.1 grid: [4096, 1, 1] threads: [64, 1, 1]
    004: kCustomKernel [prev=003 (1)  | next=005 (1)] norm grid: [1, 1, 1] threads: [32, 1, 1]  shared_memory: 0 bytes
    005: kCustomKernel [prev=004 (1)  | sink        ] gemm_fusion_dot_2 grid: [4096, 1, 1] threads: [64, 1, 1]
    008: kConditional  [prev=005 (1)  | next=009 (1)]
      false_branch:
        006: kCustomKernel [source | sink] penalties grid: [1, 1, 1]
      true_branch:
        007: kCopy [source | sink] kCopy
    009: kCustomKernel [prev=008 (1)  | sink        ] argmax grid: [1, 1, 1]
"""
GOOD = Findings(
    graphs=1,
    outside={},
    loops=0,
    kernels_a_layer=9.0,
    layer=[],
    kernels=90,
    pool_bytes=100,
    aliased_bytes=120,
    pool_copies=0,
    temp_bytes=5,
    temp_bound=6,
    targets={},
    compile_s=1.0,
)


def test_reads_kernels_and_what_no_branch_guards():
    thunks = read_thunks(DUMP)
    assert [thunk.kind for thunk in thunks if thunk.depth == 0] == ["CommandBuffer"]
    names = [thunk.name for thunk in without_branches(thunks)]
    assert names == ["kCopy", "norm", "gemm_fusion_dot.1", "norm", "gemm_fusion_dot_2", "argmax"]
    assert layer_of(without_branches(thunks), layers=2) == (2, ["norm", "gemm_fusion_dot.1"])


def test_says_what_is_not_as_it_must_be():
    assert faults(GOOD) == []
    bad = {"graphs": 2, "kernels_a_layer": 12.0, "aliased_bytes": 99, "pool_copies": 1, "temp_bytes": 7}
    for name, value in bad.items():
        assert len(faults(GOOD._replace(**{name: value}))) == 1
    assert faults(GOOD._replace(kernels_a_layer=float("nan")))
