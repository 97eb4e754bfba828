"""Paged attention on CPU, a layer of one decode step: native kernels against plain XLA, bfloat16 pools.

Pages lie scattered over the pool, and layers follow each other as in a model, so that keys come from memory and not
from a cache unless a model's would. The two backends are measured in turn, five pairs; times are the fastest run's, the
ratio is the median of the pairs'. GB/s counts keys and values once; `limit` is what reading a large array in order
reaches on the same threads. `uv run python benchmarks/cpu/attention.py` writes `results/attention.json` and `.md`.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "engine"))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from provenance import provenance  # noqa: E402

from sgl_jax.engine.attention import kv_write  # noqa: E402
from sgl_jax.engine.attention.api import AttentionBackend, RaggedRows  # noqa: E402
from sgl_jax.engine.attention.native import native_attention  # noqa: E402
from sgl_jax.engine.attention.xla import xla_attention  # noqa: E402
from sgl_jax.engine.cpu_kernels import library  # noqa: E402
from sgl_jax.engine.execution.device_env import kernels_folder  # noqa: E402

SHAPES = {"SmolLM2-135M": (30, 9, 3, 64), "Llama-8B": (32, 32, 8, 128)}
"""Layers, query heads, key heads, head dimension."""
BATCHES, CONTEXTS = (1, 8, 32), (128, 512, 4096)
PAGE = 16
LARGEST_POOL = 1 << 30
PAIRS = 5


def layers_in_turn(backend: AttentionBackend, layers: int, pages: int, dim: int) -> Callable[..., jax.Array]:
    """A program of this many layers, each with pages of its own."""

    def one(layer: jax.Array, query: jax.Array, *operands: jax.Array) -> jax.Array:
        out = backend(query, *operands, scale=dim**-0.5, page_offset=layer * pages, single_token_rows=True)
        return query + 1e-6 * out

    return jax.jit(lambda query, *rest: jax.lax.fori_loop(0, layers, lambda i, q: one(i, q, *rest), query))


def seconds(run: Callable[[], jax.Array]) -> float:
    begin = time.perf_counter()
    run().block_until_ready()
    return time.perf_counter() - begin


def measure(model: str, batch: int, context: int) -> dict[str, object] | None:
    layers, heads, kv_heads, dim = SHAPES[model]
    pages = batch * -(-context // PAGE)
    layer_bytes = 2 * pages * PAGE * kv_heads * dim * 2
    layers = min(layers, LARGEST_POOL // layer_bytes)
    if layers < 2:
        return None
    shape = (layers * pages, PAGE, kv_heads, dim)
    pools = [kv_write.make_pages(shape, jnp.dtype(jnp.bfloat16), jax.devices()[0]) for _ in range(2)]
    table = np.random.default_rng(0).permutation(pages).reshape(batch, -1)
    number, one = np.arange(batch), np.ones(batch)
    rows = RaggedRows(*(jnp.asarray(x, jnp.int32) for x in (number, one, context * one, number, table)))
    query = jnp.ones((batch, heads, dim), jnp.float32)
    backends = {"native": native_attention, "xla": xla_attention}
    programs = {name: layers_in_turn(backend, layers, pages, dim) for name, backend in backends.items()}
    for program in programs.values():
        program(query, *pools, rows).block_until_ready()
    pairs = []
    for _ in range(PAIRS):
        pairs.append(tuple(seconds(lambda p=p: p(query, *pools, rows)) / layers for p in programs.values()))
        if sum(map(sum, pairs)) * layers > 4:
            break
    native = min(pair[0] for pair in pairs)
    return {
        "model": model,
        "batch": batch,
        "context": context,
        "native ms a layer": round(native * 1e3, 3),
        "xla ms a layer": round(min(pair[1] for pair in pairs) * 1e3, 3),
        "xla / native": round(statistics.median(pair[1] / pair[0] for pair in pairs), 1),
        "native GB/s": round(layer_bytes / native / 1e9, 1),
    }


def reading_limit() -> float:
    """GB/s of a sum over an array that no cache holds."""
    array = jnp.ones(1 << 26, jnp.float32)
    total = jax.jit(jnp.sum)
    total(array).block_until_ready()
    return array.nbytes / min(seconds(lambda: total(array)) for _ in range(7)) / 1e9


def main() -> None:
    kernels = library.load(kernels_folder())
    source = provenance() | {
        "kernels": kernels.isa,
        "threads": kernels.threads,
        "limit": f"{reading_limit():.1f} GB/s",
    }
    cases = [(model, batch, context) for model in SHAPES for batch in BATCHES for context in CONTEXTS]
    rows = [row for row in (measure(*case) for case in cases) if row is not None]
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in [rows[0], *(row.values() for row in rows)]]
    facts = " · ".join(f"{key} {value}" for key, value in source.items())
    table = "\n".join(
        ["# attention", "", (__doc__ or "").strip(), "", facts, "", lines[0], "|" + "---|" * 7, *lines[1:], ""]
    )
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "attention.json").write_text(json.dumps({"provenance": source, "rows": rows}, indent=1) + "\n")
    (results / "attention.md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()
