"""Process settings that must be in place before jax is imported. No jax here.

Call `apply` first thing in a process of one's own (server worker, command line); a library user's
environment is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.execution.xla_options import environment_flags


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where things made once are kept: `SGL_JAX_CACHE_DIR`, else the user's cache folder."""
    if "SGL_JAX_CACHE_DIR" in environ:
        return Path(environ["SGL_JAX_CACHE_DIR"])
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sgl-jax"


def programs_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where compiled steps are kept; None keeps none.

    In `cache_folder`, unless the user tells JAX itself where to keep programs: then beside these, and if that
    (`JAX_COMPILATION_CACHE_DIR`) is empty, nowhere.
    """
    told = environ.get("JAX_COMPILATION_CACHE_DIR")
    if told is None:
        return cache_folder(environ) / "steps"
    return Path(told) / "steps" if told and "://" not in told else None


def kernels_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the CPU's native kernels are kept once they are compiled: `SGL_JAX_KERNELS_DIR`, else in `cache_folder`."""
    told = environ.get("SGL_JAX_KERNELS_DIR")
    return Path(told) if told else cache_folder(environ) / "cpu-kernels"


def apply(config: EngineConfig, environ: MutableMapping[str, str] = os.environ) -> None:
    """Sets what jax reads at import, never overriding what the user has set."""
    if config.device == "fake":
        return
    if config.device == "cpu":
        environ.setdefault("JAX_PLATFORMS", "cpu")
    present = environ.get("XLA_FLAGS", "")
    flags = [present, *environment_flags(config.device, config.tp_size, present, config.nnodes)]
    environ["XLA_FLAGS"] = " ".join(flags).strip()
    if config.mem_fraction_static is not None:
        environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", str(config.mem_fraction_static))
