"""Turns the device's out-of-memory error into advice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.errors import ConfigError


@contextlib.contextmanager
def memory_advice(config: EngineConfig, doing: str) -> Iterator[None]:
    """Re-raises `RESOURCE_EXHAUSTED` as a `ConfigError` that says which flag to lower, and from what.

    Args:
        config: the flags as given.
        doing: what was going on (`"compiling the steps"`).
    """
    try:
        yield
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        first_line = str(error).splitlines()[0]
        raise ConfigError(f"Out of memory while {doing} ({first_line}). {_advice(config)}") from error


def _advice(config: EngineConfig) -> str:
    ways = []
    if config.max_total_tokens is not None:
        ways.append(f"lower --max-total-tokens (now {config.max_total_tokens})")
    else:
        now = f"now {config.mem_fraction_static}" if config.mem_fraction_static else "try 0.7"
        ways.append(f"lower --mem-fraction-static ({now}), which shrinks the KV pool")
    chunk = config.chunked_prefill_size
    ways.append(f"lower --chunked-prefill-size ({f'now {chunk}' if chunk else 'try 512'}), which shrinks a step")
    if config.dtype == "float32":
        ways.append("use --dtype bfloat16, which halves the weights")
    return "Any of these helps: " + "; ".join(ways) + "."
