"""The GPU's attention kernels, interpreted on CPU, on drawn batches of many shapes.

`uv run python -m tools.attention_bar` compares every answer with NumPy's. What no token may see is NaN. With `--lower`
the shapes are brought to what XLA's CUDA compiler takes, at a size that a server would run, and with `--compile` to an
H200's machine code. That needs no GPU, but jax's CUDA plugin, at jaxlib's version:
`uv run --isolated --group deviceless python -m tools.attention_bar --compile`.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import time
from collections.abc import Sequence

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # before jax is imported, which would look for GPUs

import jax
import numpy as np

from sgl_jax.engine.attention.pallas_gpu.attention import pallas_attention
from tools.attention_cases import Batch, Floats, Shape, draw_lengths, grid, make_batch
from tools.attention_lowering import compile_for_gpu, lower_for_gpu


class Kernel:
    """The backend, compiled for the batches of one shape."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._compiled: jax.stages.Compiled | None = None

    def __call__(self, batch: Batch) -> Floats:
        """float32[T, H, D]."""
        arguments = (batch.query, batch.keys, None if self._shape.shared else batch.values, batch.rows, batch.sinks)
        if self._compiled is None:
            program = jax.jit(functools.partial(_attend, self._shape, batch.page_offset))
            # These programs are large and run for milliseconds.
            self._compiled = program.lower(*arguments).compile(compiler_options={"xla_backend_optimization_level": "0"})
        return np.asarray(self._compiled(*arguments))


def _attend(shape, page_offset, query, keys, values, rows, sinks):  # type: ignore[no-untyped-def]
    return pallas_attention(
        *(query, keys, keys if values is None else values, rows),
        scale=shape.head_dim**-0.5,
        window=shape.window,
        softcap=shape.softcap,
        sinks=sinks,
        page_offset=page_offset,
        single_token_rows=shape.single,
        interpret=True,
    )


def error_of(kernel: Kernel, batch: Batch) -> float:
    """The largest difference of an answer; infinite if padding is not finite."""
    out = kernel(batch)
    if not np.isfinite(out).all():
        return float("inf")
    return float(np.abs(out[: batch.live] - batch.expected[: batch.live]).max(initial=0.0))


def tolerance(shape: Shape) -> float:
    """What rounding explains: weights are rounded to the type of the queries."""
    return 2e-5 if shape.query_dtype == "float32" else 3e-2


def run(shapes: Sequence[Shape], count: int, seed: int) -> list[str]:
    """Draws `count` batches of each shape, and prints a line each; what was wrong, in words."""
    wrong = []
    for number, shape in enumerate(shapes):
        kernel, started, worst = Kernel(shape), time.perf_counter(), 0.0
        for index in range(count):
            rng = np.random.default_rng((seed, number, index))
            error = error_of(kernel, make_batch(rng, shape, *draw_lengths(rng, shape)))
            worst = max(worst, error)
            if error > tolerance(shape):
                wrong.append(f"{shape}: batch {index} of seed {seed} differs by {error:.1e}")
        print(f"{worst:.1e}  {time.perf_counter() - started:5.1f} s  {shape}", flush=True)
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """1 if an answer is wrong, or a kernel cannot be compiled."""
    parser = argparse.ArgumentParser(prog="tools.attention_bar", description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=50, help="batches of each shape")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compile", action="store_true", help="for an H200, instead of computing")
    parser.add_argument("--lower", action="store_true", help="for a GPU, instead of computing")
    options = parser.parse_args(arguments)
    if not (options.compile or options.lower):
        wrong = run(grid(), options.count, options.seed)
    else:
        wrong = []
        for shape in grid():
            started = time.perf_counter()
            (compile_for_gpu if options.compile else lower_for_gpu)(shape)
            print(f"{time.perf_counter() - started:5.1f} s  {shape}", flush=True)
    print("\n".join(wrong) or "all as it must be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
