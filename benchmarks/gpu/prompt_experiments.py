"""Attention of whole prompts in one layer: our kernels beside cuDNN. What decides who serves them by default."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.gpu.measure import compiled, seconds
from benchmarks.gpu.settings import Settings
from sgl_jax.engine.attention import backends, cudnn, kv_write
from sgl_jax.engine.attention.api import AttentionBackend, Pages, RaggedRows
from sgl_jax.engine.execution.xla_options import program_options

Row = dict[str, Any]
PAGE_SIZE = 16
HEADS, KV_HEADS, HEAD_DIM = 32, 8, 128


def fresh_prompts(settings: Settings) -> Iterator[Row]:
    """One layer of Qwen3-8B over prompts from their first token on: our kernels and cuDNN, and do they agree?"""
    device = jax.devices()[0]
    ours = backends.choose("auto", has_kernels=False, platform=device.platform)
    fresh = functools.partial(cudnn.fresh_attention, otherwise=ours.attend)
    model = {"heads": HEADS, "kv_heads": KV_HEADS, "head_dim": HEAD_DIM, "dtype": jnp.dtype(jnp.bfloat16)}
    why_not = cudnn.why_no_cudnn(device, **model)  # type: ignore[arg-type]
    options = program_options(device.platform.replace("gpu", "cuda"), 1) or None
    for tokens in (settings.context, settings.long_prompt):
        for prompts in (1, 4):
            length = tokens // prompts
            arguments = _batch(prompts, length)
            answers: dict[str, jax.Array] = {}
            for name, attend in (("ours", ours.attend), ("cuDNN", fresh)):
                row: Row = {"prompts": prompts, "tokens of each": length, "attention": name}
                if name == "cuDNN" and why_not is not None:
                    yield row | {"why": why_not}
                    continue
                taken, answers[name] = _timed(attend, arguments, options, settings.seconds)
                operations = 2 * prompts * length * length * HEADS * HEAD_DIM
                figures = {"us": round(taken * 1e6, 1), "TFLOP/s": round(operations / taken / 1e12, 3)}
                yield row | figures | {"largest difference": _difference(answers)}


def _timed(
    attend: AttentionBackend, arguments: tuple[Any, ...], options: dict[str, Any] | None, least: float
) -> tuple[float, jax.Array]:
    program = compiled(functools.partial(attend, scale=HEAD_DIM**-0.5), *arguments, options=options)
    return seconds(program, *arguments, least=least), program(*arguments)


def _difference(answers: dict[str, jax.Array]) -> float:
    """Between the first answers and the last."""
    first, *_, last = [answer.astype(jnp.float32) for answer in (*answers.values(), *answers.values())]
    return float(jnp.abs(first - last).max())


def _batch(prompts: int, length: int) -> tuple[jax.Array, Pages, Pages, RaggedRows]:
    """Queries of noise, keys and values of noise on scattered pages, and rows."""
    pages_of = -(-length // PAGE_SIZE)
    order = np.random.default_rng(0).permutation(prompts * pages_of).reshape(prompts, pages_of)
    each = np.full(prompts, length)
    columns = (np.arange(prompts) * length, each, each, np.arange(prompts), order)
    rows = RaggedRows(*(jnp.asarray(column, jnp.int32) for column in columns))
    return _noise((prompts * length, HEADS, HEAD_DIM)), _pages(order.size), _pages(order.size), rows


def _pages(count: int) -> Pages:
    shape = (count, PAGE_SIZE, KV_HEADS, HEAD_DIM)
    empty = kv_write.make_pages(shape, jnp.dtype(jnp.bfloat16), jax.devices()[0])  # type: ignore[arg-type]
    vectors = _noise((count * PAGE_SIZE, KV_HEADS, HEAD_DIM))
    return kv_write.write(empty, vectors, jnp.arange(count * PAGE_SIZE, dtype=jnp.int32))


def _noise(shape: tuple[int, ...]) -> jax.Array:
    return jax.random.normal(jax.random.key(len(shape), impl="rbg"), shape, jnp.bfloat16)
