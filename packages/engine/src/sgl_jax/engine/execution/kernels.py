"""Whether the CPU's native kernels serve an engine."""

from __future__ import annotations

import logging

import jax

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.cpu_kernels import library
from sgl_jax.engine.errors import ConfigError
from sgl_jax.engine.execution.device_env import kernels_folder

logger = logging.getLogger(__name__)


def find_kernels(config: EngineConfig, device: jax.Device) -> library.Library | None:
    """Loads them, compiling them first if this machine has not done so yet; None where plain XLA is to serve.

    Raises:
        ConfigError: they were asked for by name and cannot be had.
    """
    wanted = config.cpu_kernels
    if device.platform != "cpu" or wanted == "xla":
        return None
    if config.tp_size > 1:
        if wanted == "native":
            raise ConfigError("--cpu-kernels=native: they serve one device only. Leave out --tp-size or this flag.")
        return None
    try:
        kernels = library.load(kernels_folder())
    except library.Unavailable as error:
        if wanted == "native":
            raise ConfigError(f"--cpu-kernels=native: there are none ({error}).") from error
        logger.warning("no native CPU kernels, plain XLA is several times slower: %s", error)
        return None
    if wanted == "auto" and not kernels.is_fast:
        logger.info("native CPU kernels know no vector instructions of this machine; plain XLA serves")
        return None
    library.set_threads(config.cpu_threads or library.available_cores())
    logger.info("CPU kernels: %s", describe(kernels))
    return kernels


def find_out() -> tuple[str | None, str | None]:
    """What kernels an engine would use, and if none, why; compiles nothing."""
    folder = kernels_folder()
    try:
        path, recipe = library.find(folder)
        if not path.exists():
            return f"compiled at the first start with {recipe.compiler.version}, to {path}", None
        kernels = library.load(folder)
    except library.Unavailable as error:
        return None, str(error)
    return f"{kernels.isa}, by {kernels.compiler}, {kernels.path}", None


def describe(kernels: library.Library | None) -> str:
    """What computes, for people."""
    if kernels is None:
        return "none: plain XLA"
    return f"native, {kernels.isa}, {kernels.threads} thread{'' if kernels.threads == 1 else 's'}"
