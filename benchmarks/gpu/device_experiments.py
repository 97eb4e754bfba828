"""Experiments on the device alone: bandwidth, kernels against the oracle, attention, products, writes."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.gpu.measure import compiled, copy_bandwidth, seconds
from benchmarks.gpu.settings import Settings
from sgl_jax.engine.attention import backends
from sgl_jax.engine.attention import kv_write as kv_write_module
from sgl_jax.engine.attention.api import HeadNorms, Pages, RaggedRows
from sgl_jax.engine.execution.xla_options import program_options
from sgl_jax.engine.layers.linear import matmul
from sgl_jax.engine.quantization.formats import ON_LOAD
from sgl_jax.engine.quantization.matmul import packed_matmul, product_in_float8
from sgl_jax.engine.quantization.matrix import Packed

Row = dict[str, Any]
PAGE_SIZE = 16
HEADS, KV_HEADS, HEAD_DIM = 32, 8, 128


def versions(settings: Settings) -> Iterator[Row]:
    """What ran, and on what."""
    device = jax.devices()[0]
    for name in ("jax", "jaxlib", "flax", "numpy"):
        yield {"what": name, "is": importlib.metadata.version(name)}
    yield {"what": "python", "is": platform.python_version()}
    yield {"what": "device", "is": f"{device.platform} {device.device_kind}"}
    yield {"what": "runtime", "is": device.client.platform_version.replace("\n", " ")[:120]}
    yield {"what": "memory GiB", "is": round((device.memory_stats() or {}).get("bytes_limit", 0) / 2**30, 1)}
    yield {"what": "copy GB/s", "is": round(copy_bandwidth(settings.copy_bytes, settings.seconds) / 1e9, 1)}
    size = 128 if settings.tiny else 8192
    a = _noise((size, size))
    taken = seconds(compiled(jnp.dot, a, a), a, a, least=settings.seconds)
    yield {"what": "bf16 TFLOP/s", "is": round(2 * size**3 / taken / 1e12, 3)}


def oracle(settings: Settings) -> Iterator[Row]:
    """The chosen backend's answers against the textbook's, on this device: largest difference."""
    backend = _backend()
    for title, lengths, contexts in (
        ("decode", [1, 1, 1, 1], [0, 30, 200, 77]),
        ("prefill", [5, 40, 16, 1], [0, 0, 64, 300]),
        ("mixed", [1, 1, 33, 0], [500, 3, 10, 0]),
    ):
        query, keys, values, rows = _ragged(lengths, contexts)
        single = max(lengths) <= 1
        options = {"scale": HEAD_DIM**-0.5, "single_token_rows": single}
        attend = functools.partial(backend.attend, **options)
        expected = backends.REFERENCE.attend(query, keys, values, rows, **options)
        found = jax.jit(attend)(query, keys, values, rows)
        live = sum(lengths)
        difference = jnp.abs(found.astype(jnp.float32) - expected)[:live].max()
        yield {"what": f"attention, {title}", "largest difference": float(difference)}
    if backend.store_projected is not None:
        yield {"what": "norm, rotation and write", "largest difference": _store_difference(backend)}
    del settings


def attention(settings: Settings) -> Iterator[Row]:
    """Decode attention of one Qwen3-8B layer: how much of the copy bandwidth do its key and value reads reach?"""
    backend = _backend()
    bandwidth = copy_bandwidth(settings.copy_bytes, settings.seconds)
    for batch in settings.batches:
        for context in settings.contexts:
            query, keys, values, rows = _ragged([1] * batch, [context - 1] * batch)
            attend = functools.partial(backend.attend, scale=HEAD_DIM**-0.5, single_token_rows=True)
            program = compiled(attend, query, keys, values, rows)
            taken = seconds(program, query, keys, values, rows, least=settings.seconds)
            read = 2 * batch * context * KV_HEADS * HEAD_DIM * keys.stored.dtype.itemsize
            yield {
                "batch": batch,
                "context": context,
                "us": round(taken * 1e6, 1),
                "GB/s": round(read / taken / 1e9, 1),
                "of copy": round(read / taken / bandwidth, 3),
            }


def products(settings: Settings) -> Iterator[Row]:
    """x[M, in] times a matrix of Qwen3-8B: layouts, XLA's split of the inputs, and packed matrices."""
    unsplit = program_options(jax.devices()[0].platform.replace("gpu", "cuda"), 1)
    for name, (inputs, outputs) in settings.products.items():
        plain, turned = _noise((outputs, inputs)), _noise((inputs, outputs))
        packed = {form: _packed(form, outputs, inputs) for form in ON_LOAD}
        for tokens in settings.tokens_of_products:
            x = _noise((tokens, inputs))
            kinds: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any] | None]] = {
                "bf16 [out, in]": (matmul, (x, plain), unsplit or None),
                "bf16 [out, in], XLA splits": (matmul, (x, plain), None),
                "bf16 [in, out]": (_matmul_turned, (x, turned), unsplit or None),
            }
            for form, parts in packed.items():
                product = functools.partial(_packed_product, form)
                kinds[f"{form} weights"] = (product, (x, parts), unsplit or None)
            kinds["fp8 weights and activations"] = (
                functools.partial(product_in_float8, ON_LOAD["fp8"]),
                (x, packed["fp8"]),
                unsplit or None,
            )
            for kind, (function, arguments, options) in kinds.items():
                program = compiled(function, *arguments, options=options)
                taken = seconds(program, *arguments, least=settings.seconds / 3)
                weight_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(arguments[1]))
                yield {
                    "product": name,
                    "tokens": tokens,
                    "kind": kind,
                    "us": round(taken * 1e6, 1),
                    "weights GB/s": round(weight_bytes / taken / 1e9, 1),
                    "TFLOP/s": round(2 * tokens * inputs * outputs / taken / 1e12, 3),
                    "cuBLASLt f8": "__cublas$lt$matmul$f8" in (program.as_text() or ""),
                }


def kv_write(settings: Settings) -> Iterator[Row]:
    """Writing a token's keys must not cost more in a larger pool."""
    backend = _backend()
    for num_pages in (64, 256) if settings.tiny else (1 << 12, 1 << 16):
        shape = (num_pages, PAGE_SIZE, KV_HEADS, HEAD_DIM)
        pages = _pages(shape)
        keys, slots = _noise((32, KV_HEADS, HEAD_DIM)), jnp.arange(32, dtype=jnp.int32) * 7
        program = jax.jit(backend.write, donate_argnums=0).lower(pages, keys, slots).compile()
        pages = jax.block_until_ready(program(pages, keys, slots))
        count = 20 if settings.tiny else 500
        begin = time.perf_counter()
        for _ in range(count):
            pages = program(pages, keys, slots)
        jax.block_until_ready(pages)
        taken = (time.perf_counter() - begin) / count
        in_place = program.memory_analysis().alias_size_in_bytes >= pages.stored.nbytes
        yield {"pages": num_pages, "us": round(taken * 1e6, 1), "in place": in_place}


def _backend() -> backends.PagedAttention:
    return backends.choose("auto", has_kernels=False, platform=jax.devices()[0].platform)


def _noise(shape: tuple[int, ...]) -> jax.Array:
    return jax.random.normal(jax.random.key(len(shape), impl="rbg"), shape, jnp.bfloat16)


def _pages(shape: tuple[int, ...]) -> Pages:
    dtype = jnp.dtype(jnp.bfloat16)
    pages = kv_write_module.make_pages(shape, dtype, jax.devices()[0])  # type: ignore[arg-type]
    return kv_write_module.write(pages, _noise((shape[0] * shape[1], *shape[2:])), jnp.arange(shape[0] * shape[1]))


def _ragged(lengths: list[int], contexts: list[int]) -> tuple[jax.Array, Pages, Pages, RaggedRows]:
    """Queries, scattered pages and rows."""
    chance = np.random.default_rng(0)
    total = [length + context for length, context in zip(lengths, contexts, strict=True)]
    pages_of = [-(-size // PAGE_SIZE) for size in total]
    order = chance.permutation(sum(pages_of)).astype(np.int32)
    table = np.zeros((len(lengths), max(pages_of)), np.int32)
    for row, (first, count) in enumerate(zip(np.cumsum(pages_of) - pages_of, pages_of, strict=True)):
        table[row, :count] = order[first : first + count]
    starts = np.cumsum(lengths) - lengths
    columns = (starts, lengths, total, np.arange(len(lengths)), table)
    rows = RaggedRows(*(jnp.asarray(column, jnp.int32) for column in columns))
    shape = (sum(pages_of), PAGE_SIZE, KV_HEADS, HEAD_DIM)
    return _noise((sum(lengths), HEADS, HEAD_DIM)), _pages(shape), _pages(shape), rows


def _store_difference(backend: backends.PagedAttention) -> float:
    """Between the fused kernel and a float32 computation of the same, over queries and stored keys."""
    assert backend.store_projected is not None
    tokens, shape = 9, (8, PAGE_SIZE, KV_HEADS, HEAD_DIM)
    qkv = _noise((tokens, (HEADS + 2 * KV_HEADS) * HEAD_DIM))
    weight = jnp.linspace(0.5, 1.5, HEAD_DIM).astype(jnp.bfloat16)
    angles = jnp.arange(tokens, dtype=jnp.float32)[:, None] * jnp.linspace(0.01, 1, HEAD_DIM // 2)
    slots = jnp.arange(tokens, dtype=jnp.int32) * 5
    keys, values = _pages(shape), _pages(shape)
    found = backend.store_projected(
        *(qkv, keys, values, slots, (jnp.cos(angles), jnp.sin(angles))),
        heads=(HEADS, KV_HEADS, HEAD_DIM),
        norms=HeadNorms(weight, weight, 1e-6),
    )
    assert found is not None
    heads = qkv.reshape(tokens, -1, HEAD_DIM).astype(jnp.float32)[:, : HEADS + KV_HEADS]
    normed = heads * lax.rsqrt((heads * heads).mean(-1, keepdims=True) + 1e-6) * weight.astype(jnp.float32)
    first, second = jnp.split(normed, 2, axis=-1)
    cos, sin = jnp.cos(angles)[:, None], jnp.sin(angles)[:, None]
    expected = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], -1)
    query = jnp.abs(found[0].astype(jnp.float32) - expected[:, :HEADS]).max()
    stored = kv_write_module.decode(found[1].stored, None, found[1].dtype).reshape(-1, KV_HEADS, HEAD_DIM)[slots]
    return float(jnp.maximum(query, jnp.abs(stored.astype(jnp.float32) - expected[:, HEADS:]).max()))


def _matmul_turned(x: jax.Array, weight: jax.Array) -> jax.Array:
    return lax.dot_general(x, weight, (((1,), (0,)), ((), ())), preferred_element_type=jnp.float32)


def _packed(form: str, outputs: int, inputs: int) -> dict[str, jax.Array]:
    parts = ON_LOAD[form].parts((outputs, inputs))
    return {name: jnp.ones(shape, dtype) for name, (shape, dtype) in parts.items()}


def _packed_product(form: str, x: jax.Array, parts: dict[str, jax.Array]) -> jax.Array:
    return packed_matmul(x, Packed(parts, ON_LOAD[form], jnp.dtype(jnp.bfloat16)))
