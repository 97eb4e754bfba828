"""Timing of compiled programs, and the memory bandwidth that they are held against."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

WARM_RUNS = 3
"""The first runs plainly, the second captures a CUDA graph, the third replays it."""


def compiled(function: Callable[..., Any], *arguments: Any, options: dict[str, Any] | None = None) -> Any:
    """The program of a function, with XLA's options."""
    return jax.jit(function).lower(*arguments).compile(compiler_options=options)


def seconds(program: Callable[..., Any], *arguments: Any, least: float) -> float:
    """Seconds of one call, calls following each other; the median of three rounds of at least `least` seconds."""
    for _ in range(WARM_RUNS):
        jax.block_until_ready(program(*arguments))
    count, taken = 1, 0.0
    while taken < least / 2:
        count *= 2
        taken = _round(program, arguments, count)
    count = max(1, int(count * least / taken))
    return statistics.median(_round(program, arguments, count) for _ in range(3)) / count


def _round(program: Callable[..., Any], arguments: tuple[Any, ...], count: int) -> float:
    begin = time.perf_counter()
    result = None
    for _ in range(count):
        result = program(*arguments)
    jax.block_until_ready(result)
    return time.perf_counter() - begin


def copy_bandwidth(num_bytes: int, least: float) -> float:
    """Bytes a second, read and written, of a copy of `num_bytes`."""
    source = jnp.ones(num_bytes // 4, jnp.float32)
    program = compiled(lambda x: x + 1, source)
    return 2 * num_bytes / seconds(program, source, least=least)
