"""What a compiled GPU step will do, read off the compiler's output: launches, graphs, copies, memory."""

from __future__ import annotations

import collections
import itertools
import math
import re
import statistics
from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tools.deviceless_compile import Compiled

MOST_KERNELS_A_LAYER = 11
_THUNK = re.compile(r"^(?P<indent> *)(?P<number>\d+): k(?P<kind>\w+) +\[[^\]]*\] *(?P<name>[\w.\-]+)?")
_COPY = re.compile(r"= (?P<type>\w+)\[(?P<dims>[\d,]*)\]\S* (?:copy|copy-start)\(")
_RESULT = re.compile(r"^\s+(?:ROOT )?%\S+ = \w+\[(?P<dims>[\d,]+)\]\S* (?P<kind>[\w\-]+)\(")
_OPENING = re.compile(r"^(?:ENTRY )?%(?P<name>\S+) \(.*\{$")
_FUSED = re.compile(r"calls=%([^\s,]+)")
_NOT_WRITTEN = ("parameter", "bitcast", "tuple")
_TARGET = re.compile(r'custom_call_target="([^"]+)"')


class Thunk(NamedTuple):
    """Something that is launched.

    Attributes:
        depth: how deep it lies in graphs, branches and loops.
        kind: XLA's name of its kind, such as CustomKernel, CommandBuffer, While.
        name: of the kernel.
    """

    depth: int
    kind: str
    name: str


class Findings(NamedTuple):
    """A step in numbers.

    Attributes:
        graphs: command buffers, which become one CUDA graph each.
        outside: what is launched outside them, by kind.
        loops: `while`s anywhere.
        kernels_a_layer: launches from one layer to the next.
        layer: their names, in order, of the last layer but one.
        kernels: launches of a greedy step without penalties: no branch is taken but the empty ones.
        pool_bytes, aliased_bytes: of keys and values; and how much of all results lies in its argument's place.
        pool_copies: copies of something as large as a layer's keys.
        unpacked: results as large as a packed matrix, or as a half of it, in memory.
        temp_bytes: memory besides arguments and results.
        temp_bound: what that may be, see `step_memory`.
        targets: library calls and how many of each.
        compile_s: seconds.
    """

    graphs: int
    outside: dict[str, int]
    loops: int
    kernels_a_layer: float
    layer: list[str]
    kernels: int
    pool_bytes: int
    aliased_bytes: int
    pool_copies: int
    unpacked: int
    temp_bytes: int
    temp_bound: int
    targets: dict[str, int]
    compile_s: float


def read_thunks(text: str) -> list[Thunk]:
    """The lines of XLA's dump."""
    found = (_THUNK.match(line) for line in text.splitlines())
    return [Thunk(len(match["indent"]) // 2, match["kind"], match["name"] or "") for match in found if match]


def find(compiled: Compiled) -> Findings:
    """Reads what a compiled step does."""
    thunks = read_thunks(compiled.thunks)
    text = compiled.program.as_text() or ""
    memory = compiled.program.memory_analysis()
    assert memory is not None, "XLA's CUDA compiler knows what its programs take"
    top = [thunk for thunk in thunks if thunk.depth == 0]
    main = without_branches(thunks)
    period, layer = layer_of(main, compiled.layers)
    return Findings(
        graphs=sum(thunk.kind == "CommandBuffer" for thunk in thunks),
        outside=dict(collections.Counter(thunk.kind for thunk in top if thunk.kind != "CommandBuffer")),
        loops=sum(thunk.kind == "While" for thunk in thunks),
        kernels_a_layer=period,
        layer=layer,
        kernels=len(main),
        pool_bytes=compiled.pool_bytes,
        aliased_bytes=memory.alias_size_in_bytes,
        pool_copies=_copies_of(text, math.prod(compiled.pool_shape)),
        unpacked=unpacked_in(text, compiled.packed_shapes),
        temp_bytes=memory.temp_size_in_bytes,
        temp_bound=compiled.temp_bound,
        targets=dict(collections.Counter(_TARGET.findall(text))),
        compile_s=compiled.compile_s,
    )


def faults(findings: Findings) -> list[str]:
    """What is not as it must be, in words; empty when all is well."""
    found = []
    if findings.graphs != 1 or findings.outside:
        found.append(f"{findings.graphs} command buffers, and outside them {findings.outside or 'nothing'}; wanted one")
    if not findings.kernels_a_layer <= MOST_KERNELS_A_LAYER:
        found.append(f"{findings.kernels_a_layer:g} kernels a layer, at most {MOST_KERNELS_A_LAYER}: {findings.layer}")
    if findings.aliased_bytes < findings.pool_bytes:
        found.append(f"only {findings.aliased_bytes} bytes are updated in place, the pool has {findings.pool_bytes}")
    if findings.pool_copies:
        found.append(f"{findings.pool_copies} copies as large as a layer's pool")
    if findings.unpacked:
        found.append(f"{findings.unpacked} unpacked matrices in memory")
    if findings.temp_bytes > findings.temp_bound:
        found.append(f"{findings.temp_bytes} bytes of temporaries, at most {findings.temp_bound}")
    return found


def unpacked_in(text: str, shapes: Collection[tuple[int, int]]) -> int:
    """How many results have the shape of one of the matrices [out, in], or of a half, in an optimized module's text.

    What is inside a fusion does not count, because it is never in memory.
    """
    fused = set(_FUSED.findall(text))
    sizes = {(out, size) for out, columns in shapes for size in (out * columns, out * columns // 2)}
    found, inside = 0, ""
    for line in text.splitlines():
        if opening := _OPENING.match(line):
            inside = opening["name"]
        elif (result := _RESULT.match(line)) and inside not in fused and result["kind"] not in _NOT_WRITTEN:
            dims = [int(size) for size in result["dims"].split(",")]
            found += (dims[0], math.prod(dims)) in sizes
    return found


def without_branches(thunks: list[Thunk]) -> list[Thunk]:
    """What every step launches: kernels, library calls and copies that no condition guards."""
    kept = []
    inside: int | None = None
    for thunk in thunks:
        if inside is not None and thunk.depth > inside:
            continue
        inside = thunk.depth if thunk.kind in ("Conditional", "While") else None
        if thunk.kind not in ("CommandBuffer", "Conditional", "While"):
            kept.append(thunk)
    return kept


def layer_of(main: list[Thunk], layers: int) -> tuple[float, list[str]]:
    """How many launches lie between the same kernel of two layers, and their names."""
    # Copies have a name, too, and there may be as many of them as of layers.
    counts = collections.Counter(thunk.name for thunk in main if "Kernel" in thunk.kind)
    once_a_layer = [name for name, count in counts.items() if count == layers]
    if layers < 2 or not once_a_layer:
        return math.nan, []
    places = [index for index, thunk in enumerate(main) if thunk.name == once_a_layer[0]]
    names = [thunk.name or thunk.kind for thunk in main[places[-2] : places[-1]]]
    gaps = [later - earlier for earlier, later in itertools.pairwise(places)]
    return statistics.median(gaps), names


def _copies_of(text: str, elements: int) -> int:
    shapes = (match["dims"] for match in _COPY.finditer(text))
    return sum(math.prod(int(size) for size in dims.split(",") if size) >= elements for dims in shapes)
