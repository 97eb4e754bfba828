"""How the compiler's output is read: on lines as it writes them."""

from __future__ import annotations

from tools.deviceless_findings import Findings, faults, layer_of, read_thunks, unpacked_in, without_branches

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
    unpacked=0,
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
    bad = {"graphs": 2, "kernels_a_layer": 12.0, "aliased_bytes": 99, "pool_copies": 1, "unpacked": 1, "temp_bytes": 7}
    for name, value in bad.items():
        assert len(faults(GOOD._replace(**{name: value}))) == 1
    assert faults(GOOD._replace(kernels_a_layer=float("nan")))


MODULE = """\
%fused_convert (param_0: u8[64,16]) -> bf16[64,16] {
  %param_0 = u8[64,16]{1,0} parameter(0)
  ROOT %convert.1 = bf16[64,16]{1,0} convert(%param_0)
}

ENTRY %main (codes: u8[64,16]) -> bf16[8,64] {
  %codes = u8[64,16]{1,0} parameter(0)
  %bitcast.2 = u8[64,1,16]{2,1,0} bitcast(%codes)
  %loop_fusion.3 = bf16[64,16]{1,0} fusion(%codes), kind=kLoop, calls=%fused_convert
  %two.6 = (bf16[64,16]{1,0}, u8[3]{0}) fusion(%codes), kind=kLoop, calls=%fused_convert
  %get-tuple-element.7 = bf16[64,16]{1,0} get-tuple-element(%two.6), index=0
  %whole.4 = bf16[64,32]{1,0} concatenate(%loop_fusion.3, %loop_fusion.3), dimensions={1}
  ROOT %dot.5 = bf16[8,64]{1,0} custom-call(%whole.4), custom_call_target="dot"
}
"""


def test_counts_what_of_a_packed_matrix_is_written_to_memory():
    assert unpacked_in(MODULE, [(64, 32)]) == 3
    assert unpacked_in(MODULE, [(64, 128)]) == 0
