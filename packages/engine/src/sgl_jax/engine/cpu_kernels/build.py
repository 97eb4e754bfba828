"""Compiles the C++ sources into a shared library, once for each version of anything that it depends on. No jax here.

The library's file name is a digest of the sources, the flags, the compiler and the headers of JAX's foreign function
interface. So a library that lies in the folder is the right one, and old ones harm nobody. It is compiled beside its
place and moved there in one step, so that nobody loads half of one. Processes that start at the same time wait for the
first of them, where the system has locks for files.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

from sgl_jax.engine.cpu_kernels.compiler import Compiler

fcntl: ModuleType | None = importlib.import_module("fcntl") if os.name == "posix" else None

SOURCES = Path(__file__).parent / "src"
FLAGS = (
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-pthread",
    "-fno-semantic-interposition",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-w",
)
"""Nothing that changes results: NaN stays NaN, sums keep their order. And nothing for this machine alone."""
_AVX2 = ("-mavx2", "-mfma", "-mf16c")
_AVX512 = (*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni", "-mprefer-vector-width=512")
ISA_FLAGS: dict[str, tuple[str, ...]] = {
    "_avx2.cc": _AVX2,
    "_avx512.cc": _AVX512,
    "_avx512bf16.cc": (*_AVX512, "-mavx512bf16"),
}
"""End of a source's name -> instructions that it may use. On other machines these files are left out."""
_QUICKLY: dict[str, tuple[str, ...]] = {"_ffi.cc": ("-O1",), "_portable.cc": ("-O1",)}
"""What does no work itself, and on x86 what only machines from before AVX2 use: a sixth of all compiling less."""
X86 = ("x86_64", "AMD64")
_SECONDS = 300


class BuildError(Exception):
    """The kernels could not be compiled; the message is the compiler's first complaint."""


def sources(machine: str | None = None) -> list[Path]:
    """The files to compile for a machine (`platform.machine()`)."""
    is_x86 = (machine or platform.machine()) in X86
    return [path for path in sorted(SOURCES.glob("*.cc")) if is_x86 or not _flags_of(path, ISA_FLAGS)]


def library_path(folder: Path, compiler: Compiler, include: Path, extra_flags: Sequence[str] = ()) -> Path:
    """Where the library lies, or will lie, in a folder.

    Args:
        folder: of libraries of any version.
        compiler: what compiles it.
        include: where the headers `xla/ffi/api/*.h` are (`jax.ffi.include_dir()`).
        extra_flags: for the compiler.
    """
    digest = hashlib.sha256()
    for part in _ingredients(compiler, include, extra_flags):
        digest.update(len(part).to_bytes(8, "little") + part)
    return folder / f"sgl_jax_kernels-{digest.hexdigest()[:20]}.so"


def build(library: Path, compiler: Compiler, include: Path, extra_flags: Sequence[str] = ()) -> None:
    """Compiles all files at the same time, links them, and moves the library to its place, unless it is there by then.

    Raises:
        BuildError: the compiler failed, or the folder cannot be written.
    """
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        with _alone(library.parent), tempfile.TemporaryDirectory(prefix=".build-", dir=library.parent) as scratch:
            if not library.exists():
                os.replace(_compile(Path(scratch), compiler, include, extra_flags), library)
    except OSError as error:
        raise BuildError(str(error)) from error


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other processes from building in this folder; the system lets go of it when this process ends."""
    with (folder / ".lock").open("w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _ingredients(compiler: Compiler, include: Path, extra_flags: Sequence[str]) -> Iterator[bytes]:
    yield "\n".join([platform.system(), platform.machine(), *compiler.command, compiler.version]).encode()
    yield "\n".join([*FLAGS, *extra_flags, repr(sorted((ISA_FLAGS | _QUICKLY).items()))]).encode()
    for path in [*sources(), *sorted(SOURCES.glob("*.h")), *sorted(include.glob("xla/ffi/api/*.h"))]:
        yield path.name.encode()
        yield path.read_bytes()


def _compile(scratch: Path, compiler: Compiler, include: Path, extra_flags: Sequence[str]) -> Path:
    flags = [*FLAGS, *extra_flags]
    objects = {path: scratch / f"{path.stem}.o" for path in sources()}
    commands = [
        [*compiler.command, *flags, *_own_flags(path), f"-isystem{include}", "-c", str(path), "-o", str(made)]
        for path, made in sorted(objects.items(), key=lambda item: -item[0].stat().st_size)  # the longest begin
    ]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(_run, commands))
    linked = scratch / "linked.so"
    undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    _run([*compiler.command, *flags, "-shared", *undefined, *map(str, objects.values()), "-o", str(linked)])
    return linked


def _own_flags(path: Path) -> tuple[str, ...]:
    return _flags_of(path, ISA_FLAGS) + (_flags_of(path, _QUICKLY) if platform.machine() in X86 else ())


def _flags_of(path: Path, flags_of: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return next((flags for ending, flags in flags_of.items() if path.name.endswith(ending)), ())


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"the compiler took more than {_SECONDS} s") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        complaint = next((line for line in said if "error" in line), said[-1] if said else "it said nothing")
        raise BuildError(f"exit code {done.returncode}: {complaint}")
