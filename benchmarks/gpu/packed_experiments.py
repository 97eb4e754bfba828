"""Products with packed matrices on the device: our kernels and plain XLA's products, beside bfloat16."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.gpu.measure import compiled, copy_bandwidth, seconds
from benchmarks.gpu.settings import Settings
from sgl_jax.engine.execution.xla_options import program_options
from sgl_jax.engine.layers.linear import matmul
from sgl_jax.engine.quantization.formats import FP8, INT8, Q4_1, Q8_0, PackFormat
from sgl_jax.engine.quantization.matmul import packed_matmul
from sgl_jax.engine.quantization.matrix import Packed, Parts
from sgl_jax.engine.quantization.pallas_gpu.product import packed_product

Row = dict[str, Any]
Product = Callable[[jax.Array, Any], jax.Array]
BFLOAT16 = jnp.dtype(jnp.bfloat16)
_PAST_CACHES = 256 << 20
"""Bytes of matrices that a program reads in turn, so that none is in the card's cache when its turn comes again."""


def packed_products(settings: Settings) -> Iterator[Row]:
    """What packed matrices save: time beside bfloat16, share of the copy bandwidth, difference from plain XLA."""
    is_gpu = jax.devices()[0].platform == "gpu"
    bandwidth = copy_bandwidth(settings.copy_bytes, settings.seconds)
    for name, (inputs, outputs) in settings.products.items():
        for tokens in settings.tokens_of_products[::2]:
            x = jax.random.normal(jax.random.key(0), (tokens, inputs), BFLOAT16)
            plain = jax.random.normal(jax.random.key(1), (outputs, inputs), BFLOAT16)
            usual = _seconds(_plain, x, plain, settings)
            yield _row(name, tokens, "bf16", usual, plain, usual, bandwidth, 0.0)
            for form in (Q4_1, Q8_0, FP8, INT8):
                parts = _made_up(form, outputs, inputs)
                by_xla = functools.partial(_by_xla, form)
                taken = _seconds(by_xla, x, parts, settings)
                yield _row(name, tokens, f"{form.name}, XLA", taken, parts, usual, bandwidth, 0.0)
                by_kernel = functools.partial(_by_kernel, form, not is_gpu)
                if jax.eval_shape(by_kernel, x, parts) is None:
                    continue
                difference = _difference(jax.jit(by_kernel)(x, parts), jax.jit(by_xla)(x, parts))
                taken = _seconds(by_kernel, x, parts, settings)
                yield _row(name, tokens, f"{form.name}, kernel", taken, parts, usual, bandwidth, difference)


def _plain(x: jax.Array, weight: jax.Array) -> jax.Array:
    return matmul(x, weight).astype(BFLOAT16)


def _by_xla(form: PackFormat, x: jax.Array, parts: Parts) -> jax.Array:
    return packed_matmul(x, Packed(parts, form, BFLOAT16)).astype(BFLOAT16)


def _by_kernel(form: PackFormat, interpret: bool, x: jax.Array, parts: Parts) -> jax.Array | None:
    return packed_product(x, Packed(parts, form, BFLOAT16), BFLOAT16, interpret=interpret)


def _seconds(product: Callable[..., Any], x: jax.Array, weight: Any, settings: Settings) -> float:
    """Of one product, among as many matrices as no cache holds."""
    count = 1 if settings.tiny else max(1, math.ceil(_PAST_CACHES / _bytes(weight)))
    matrices = [jax.tree.map(lambda part: part + 0, weight) for _ in range(count)]

    def all_of_them(x: jax.Array, matrices: list[Any]) -> list[Any]:
        return [product(x, matrix) for matrix in matrices]

    options = program_options(jax.devices()[0].platform, 1) or None
    program = compiled(all_of_them, x, matrices, options=options)
    return seconds(program, x, matrices, least=settings.seconds / 3) / count


def _made_up(form: PackFormat, outputs: int, inputs: int) -> dict[str, jax.Array]:
    """Codes of all values but a float8's NaN, and scales near one."""
    parts = {}
    for name, (shape, dtype) in form.parts((outputs, inputs)).items():
        key = jax.random.key(len(name))
        if name == "codes":
            codes = jax.random.randint(key, shape, 0, 256 if form.paired else 120, jnp.uint8)
            parts[name] = codes.astype(dtype)
        else:
            parts[name] = jax.random.uniform(key, shape, jnp.float32, 0.5, 1.5).astype(dtype)
    return parts


def _difference(found: jax.Array | None, expected: jax.Array) -> float:
    """The largest, relative to the largest answer."""
    assert found is not None
    exact = expected.astype(jnp.float32)
    return float(jnp.abs(found.astype(jnp.float32) - exact).max() / jnp.abs(exact).max())


def _row(
    name: str, tokens: int, kind: str, taken: float, weight: Any, usual: float, bandwidth: float, difference: float
) -> Row:
    return {
        "product": name,
        "tokens": tokens,
        "kind": kind,
        "us": round(taken * 1e6, 1),
        "times bf16's speed": round(usual / taken, 2),
        "of copy": round(_bytes(weight) / taken / bandwidth, 3),
        "difference": f"{difference:.1e}",
    }


def _bytes(weight: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(weight))
