"""Compiles the C++ sources into a shared library, once for each version of anything that it depends on. No jax here.

The library's file name is a digest of its recipe: the sources, the flags, the compiler and the headers of JAX's
foreign function interface. So a library that lies in the folder is the right one, and old ones harm nobody. It is
compiled beside its place and moved there in one step, so that nobody loads half of one. Processes that start at the
same time wait for the first of them, where the system has locks for files.
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from sgl_jax.engine.cpu_kernels.compiler import Compiler
from sgl_jax.engine.cpu_kernels.variants import ALL, X86, Variants

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
_QUICKLY = ("handlers.cc", "_portable.cc")
"""Ends of the names of what does no work itself, and on x86 of what only machines from before AVX2 use."""
_SECONDS = 300


class BuildError(Exception):
    """The kernels could not be compiled; the message is the compiler's first complaint."""


class Recipe(NamedTuple):
    """What a library is made of, besides our sources.

    Attributes:
        compiler: what compiles them.
        include: where the headers `xla/ffi/api/*.h` are (`jax.ffi.include_dir()`).
        variants: which of our files for certain instructions it has.
        extra_flags: for the compiler.
    """

    compiler: Compiler
    include: Path
    variants: Variants
    extra_flags: tuple[str, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        """Those that all files are compiled with."""
        return (*FLAGS, *self.extra_flags, *(f"-D{variant.macro}=1" for variant in self.variants))

    def flags_of(self, path: Path) -> tuple[str, ...]:
        """What one file is compiled with besides."""
        own = next((variant.flags for variant in self.variants if path.name.endswith(variant.ending)), ())
        return (*own, "-O1") if path.name.endswith(_QUICKLY) and platform.machine() in X86 else own


def sources(variants: Variants) -> list[Path]:
    """Our files of a library with these variants."""
    left_out = tuple(variant.ending for variant in ALL if variant not in variants)
    return [path for path in sorted(SOURCES.glob("*.cc")) if not path.name.endswith(left_out)]


def library_path(folder: Path, recipe: Recipe) -> Path:
    """Where the library lies, or will lie, in a folder of libraries of any version."""
    digest = hashlib.sha256()
    for part in _ingredients(recipe):
        digest.update(len(part).to_bytes(8, "little") + part)
    return folder / f"sgl_jax_kernels-{digest.hexdigest()[:20]}.so"


def build(library: Path, recipe: Recipe) -> None:
    """Compiles the files at the same time, links them, and moves the library to its place, unless it is there by then.

    Raises:
        BuildError: the compiler failed, or the folder cannot be written.
    """
    try:
        library.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _alone(library.parent), tempfile.TemporaryDirectory(prefix=".build-", dir=library.parent) as scratch:
            if not library.exists():
                os.replace(_compile(Path(scratch), recipe), library)
    except OSError as error:
        raise BuildError(str(error)) from error


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other processes from building in this folder; the system lets go of it when this process ends."""
    with (folder / ".lock").open("w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _ingredients(recipe: Recipe) -> Iterator[bytes]:
    compiler, own = recipe.compiler, sources(recipe.variants)
    yield "\n".join([platform.system(), platform.machine(), *compiler.command, compiler.version]).encode()
    yield "\n".join(recipe.flags).encode()
    for path in [*own, *sorted(SOURCES.glob("*.h")), *sorted(recipe.include.glob("xla/ffi/api/*.h"))]:
        yield f"{path.name} {' '.join(recipe.flags_of(path))}".encode()
        yield path.read_bytes()


def _compile(scratch: Path, recipe: Recipe) -> Path:
    objects = {path: scratch / f"{path.stem}.o" for path in sources(recipe.variants)}
    base = [*recipe.compiler.command, *recipe.flags]
    commands = [
        [*base, *recipe.flags_of(path), f"-isystem{recipe.include}", "-c", str(path), "-o", str(made)]
        for path, made in sorted(objects.items(), key=lambda item: not recipe.flags_of(item[0]))  # the longest begin
    ]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(_run, commands))
    linked = scratch / "linked.so"
    undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    _run([*base, "-shared", *undefined, *map(str, objects.values()), "-o", str(linked)])
    return linked


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"the compiler took more than {_SECONDS} s") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        complaint = next((line for line in said if "error" in line), said[-1] if said else "it said nothing")
        raise BuildError(f"exit code {done.returncode}: {complaint}")
