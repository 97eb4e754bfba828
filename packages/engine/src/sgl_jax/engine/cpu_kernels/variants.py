"""The kernels' variants for x86 and which of them a library has. No jax here.

Files whose names end alike are written for the same instructions. A library for one machine leaves out what that
machine cannot run, AVX2 where it has AVX-512, and AVX-512's BF16 where it has AMX. One that has all of them serves any
machine; which of them it has and may use, a library asks the processor when it runs.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import NamedTuple

X86 = ("x86_64", "AMD64")


class Variant(NamedTuple):
    """Files for some instructions.

    Attributes:
        ending: of their names.
        macro: tells all other files that they are there.
        flags: let the compiler use the instructions.
        needs: Linux's names of these.
    """

    ending: str
    macro: str
    flags: tuple[str, ...]
    needs: frozenset[str]


_AVX2 = ("-mavx2", "-mfma", "-mf16c")
_AVX512 = (*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni", "-mprefer-vector-width=512")
_NEEDS_AVX2 = frozenset({"avx2", "fma", "f16c"})
_NEEDS_AVX512 = _NEEDS_AVX2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"}
AVX2 = Variant("_avx2.cc", "SGL_AVX2", _AVX2, _NEEDS_AVX2)
AVX512 = Variant("_avx512.cc", "SGL_AVX512", _AVX512, _NEEDS_AVX512)
AVX512_BF16 = Variant("_avx512bf16.cc", "SGL_AVX512BF16", (*_AVX512, "-mavx512bf16"), _NEEDS_AVX512 | {"avx512_bf16"})
AMX = Variant(
    "_amx.cc",
    "SGL_AMX",
    (*AVX512_BF16.flags, "-mamx-tile", "-mamx-bf16", "-mamx-int8"),
    AVX512_BF16.needs | {"amx_tile", "amx_bf16", "amx_int8"},
)
ALL = (AVX2, AVX512, AVX512_BF16, AMX)

Variants = tuple[Variant, ...]


def all_variants(machine: str | None = None) -> Variants:
    """All that there are for a kind of machine (`platform.machine()`): none but on x86."""
    return ALL if (machine or platform.machine()) in X86 else ()


def own_variants(every: Variants, features: Collection[str] | None) -> Variants:
    """What a library for one machine has.

    Args:
        every: variants that can be built.
        features: of its processor, as Linux names them; None where nobody knows.
    """
    if features is None:
        return every
    runs = [variant for variant in every if variant.needs.issubset(features)]
    better = {AVX2: AVX512, AVX512_BF16: AMX}
    return tuple(variant for variant in runs if better.get(variant) not in runs)


def choices(understands: Callable[[tuple[str, ...]], bool], environ: Mapping[str, str] = os.environ) -> list[Variants]:
    """What a library may have, the last of which is built if there is no other.

    One for all machines of this kind, if somebody has made it, else one for this machine; `SGL_JAX_KERNELS_FOR`, which
    is `all` or `machine`, asks for one of them.

    Args:
        understands: whether the compiler takes some flags; one that takes those of a variant takes those before it.
        environ: environment variables.
    """
    every = all_variants()
    while every and not understands(every[-1].flags):
        every = every[:-1]
    found = {"all": every, "machine": own_variants(every, processor_features())}
    asked = environ.get("SGL_JAX_KERNELS_FOR", "")
    return [found[asked]] if asked in found else list(found.values())


def processor_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str] | None:
    """What Linux says that this machine's processor has; None elsewhere."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    found = (line.partition(":")[2] for line in lines if line.startswith("flags"))
    first = next(found, None)
    return None if first is None else frozenset(first.split())
