"""The kernels in this process: built if need be, loaded once, known to XLA under the names in `HANDLERS`."""

from __future__ import annotations

import ctypes
import logging
import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

import jax

from sgl_jax.engine.config.private_folder import others_may_write
from sgl_jax.engine.cpu_kernels.build import BuildError, Recipe, build, library_path
from sgl_jax.engine.cpu_kernels.compiler import find_compiler, understands
from sgl_jax.engine.cpu_kernels.variants import choices

logger = logging.getLogger(__name__)

HANDLERS: dict[str, str] = {
    "sgl_attend_projected": "sgl_attend_projected",
    "sgl_attention": "sgl_attention",
    "sgl_copy_pages": "sgl_copy_pages",
    "sgl_draw": "sgl_draw",
    "sgl_finish_block": "sgl_finish_block",
    "sgl_kv_write": "sgl_kv_write",
    "sgl_kv_write_scaled": "sgl_kv_write_scaled",
    "sgl_matmul": "sgl_matmul",
    "sgl_store_projected": "sgl_store_projected",
    "sgl_take_rows": "sgl_take_rows",
}
"""XLA's name of each kernel (`jax.ffi.ffi_call`) -> the library's symbol that XLA_FFI_DEFINE_HANDLER_SYMBOL defines."""

ISAS = ("portable", "avx2", "avx512", "avx512bf16", "amx", "neon")
"""As in src/isa.h, by number."""


class Library(NamedTuple):
    """The library that this process has loaded.

    Attributes:
        path: its file.
        compiler: what built it.
        isa: the instructions in use, for people.
        handle: its C functions.
    """

    path: Path
    compiler: str
    isa: str
    handle: ctypes.CDLL

    @property
    def is_fast(self) -> bool:
        """Whether there are kernels in instructions of this machine, rather than in plain C++ only."""
        return self.isa != ISAS[0]

    @property
    def has_tiles(self) -> bool:
        """Whether prompts are multiplied by AMX, unless in float32."""
        return bool(self.handle.sgl_has_tiles())

    @property
    def threads(self) -> int:
        """Threads that a kernel uses."""
        return int(self.handle.sgl_num_threads())


class Unavailable(Exception):  # noqa: N818 - a state of the machine, not a fault
    """There are no native kernels here; the message says why and what to do."""


_lock = threading.Lock()
_loaded: Library | None = None


def load(folder: Path) -> Library:
    """Builds the kernels if `folder` does not hold them yet, loads and registers them. Later calls return at once.

    Raises:
        Unavailable: no compiler, or it failed, or others may write to the folder.
    """
    global _loaded
    with _lock:
        if _loaded is None:
            _loaded = _load(folder)
            set_threads(available_cores())
        return _loaded


def loaded() -> Library | None:
    """The kernels, if `load` has succeeded in this process."""
    return _loaded


def set_threads(count: int) -> None:
    """How many threads kernels use from now on, their caller included."""
    if _loaded is not None:
        _loaded.handle.sgl_set_num_threads(count)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def find(folder: Path) -> tuple[Path, Recipe]:
    """Where the library lies, or will once it is built, and what it is made of.

    Raises:
        Unavailable: there is no compiler.
    """
    compiler = find_compiler()
    if compiler is None:
        raise Unavailable(
            "no C++ compiler was found: install g++ or clang++, or the extra sgl-jax-engine[cpu-compiler]"
        )
    for variants in choices(lambda flags: understands(compiler, flags)):
        recipe = Recipe(compiler, Path(jax.ffi.include_dir()), variants)
        path = library_path(folder, recipe)
        if path.exists():
            break
    return path, recipe


def _load(folder: Path) -> Library:
    path, recipe = find(folder)
    compiler = recipe.compiler
    try:
        if not path.exists():
            begin = time.perf_counter()
            logger.info("compiling the CPU kernels with %s, once", compiler.version)
            build(path, recipe)
            logger.info("compiled the CPU kernels in %.1f s", time.perf_counter() - begin)
        if others_may_write(path.parent):
            raise Unavailable(
                f"others may write to {path.parent}; chmod go-w it, or name another folder by SGL_JAX_KERNELS_DIR"
            )
        handle = ctypes.CDLL(str(path))
    except (BuildError, OSError) as error:
        raise Unavailable(f"{compiler.command[-1]} could not build them ({error})") from error
    handle.sgl_isa_name.restype = ctypes.c_char_p
    for name, symbol in HANDLERS.items():
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(handle, symbol)), platform="cpu")
    return Library(path, compiler.version, handle.sgl_isa_name().decode(), handle)
