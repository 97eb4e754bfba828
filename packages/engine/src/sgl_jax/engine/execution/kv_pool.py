"""The KV pool on the device: how large it may be, and its zeros."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from sgl_jax.engine.attention import kv_write
from sgl_jax.engine.attention.api import Pages
from sgl_jax.engine.attention.pallas_gpu.limits import countable_pages
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.errors import ConfigError
from sgl_jax.engine.execution import host_memory
from sgl_jax.engine.execution.step import Pools

CPU_DEFAULT_TOKENS = 32768
CPU_MEMORY_FRACTION = 0.25
GPU_MEMORY_FRACTION = 0.85
_MIB = 1 << 20
_GIB = 1 << 30
_FORMATS = {"fp8_e4m3": jnp.float8_e4m3fn, "fp8_e5m2": jnp.float8_e5m2}
"""What `--kv-cache-dtype` spells differently from JAX."""


class PoolPlan(NamedTuple):
    """The size of a pool.

    Attributes:
        num_pages: pages a layer.
        page_size: tokens a page.
        dtype: element type of the keys and values, see `attention.kv_write`.
        num_bytes: of all layers.
        compute_dtype: their type before they are stored.
        compute_tokens: tokens that these bytes would hold in that type.
    """

    num_pages: int
    page_size: int
    dtype: jnp.dtype
    num_bytes: int
    compute_dtype: jnp.dtype
    compute_tokens: int

    @property
    def num_tokens(self) -> int:
        """Tokens that fit."""
        return self.num_pages * self.page_size

    def __str__(self) -> str:
        instead = "" if self.dtype == self.compute_dtype else f" ({self.compute_tokens} as {self.compute_dtype})"
        size = f"pages of {self.page_size}, {self.num_bytes / _GIB:.2f} GiB"
        return f"{self.num_tokens} tokens as {self.dtype}{instead}, {size}"


def plan_pool(config: EngineConfig, spec: ModelSpec, dtype: jnp.dtype, device: jax.Device, free_bytes: int) -> PoolPlan:
    """Sizes the pool from the flags, else from what is free.

    Args:
        config: `max_total_tokens` decides when given; else `mem_fraction_static`. `kv_cache_dtype` says how wide a
            token is.
        spec: the model.
        dtype: type of keys and values when they are computed.
        device: where the pool will live.
        free_bytes: memory left after the weights (on CPU: available RAM).

    Raises:
        ConfigError: not even one page fits; the message says what to change.
    """
    name = config.kv_cache_dtype
    kept = dtype if name == "auto" else jnp.dtype(_FORMATS.get(name, name))
    vectors = (2 if spec.cache.values else 1) * spec.num_layers * spec.cache.heads
    page_bytes = vectors * config.page_size * kv_write.vector_bytes(spec.cache.head_dim, kept)
    if config.max_total_tokens is not None:
        num_pages = -(-config.max_total_tokens // config.page_size)
    else:
        default = CPU_MEMORY_FRACTION if device.platform == "cpu" else GPU_MEMORY_FRACTION
        num_pages = int(free_bytes * (config.mem_fraction_static or default)) // page_bytes
        if device.platform == "cpu":
            longest = config.max_seq_len or spec.max_position_embeddings
            num_pages = min(num_pages, -(-max(CPU_DEFAULT_TOKENS, longest) // config.page_size))
        else:
            # Rather millions of tokens less than plain XLA's attention for all of them.
            elements = config.page_size * spec.cache.heads * spec.cache.head_dim
            num_pages = countable_pages(num_pages, elements, kept.itemsize)
    if num_pages < 1:
        raise ConfigError(
            f"No memory for the KV pool: {free_bytes / _MIB:.0f} MiB are free and a page of {config.page_size} tokens "
            f"takes {page_bytes / _MIB:.2f} MiB. Raise --mem-fraction-static or set --max-total-tokens."
        )
    num_bytes = num_pages * page_bytes
    compute_tokens = num_bytes // (vectors * kv_write.vector_bytes(spec.cache.head_dim, dtype))
    return PoolPlan(num_pages, config.page_size, kept, num_bytes, dtype, compute_tokens)


def make_pools(
    plan: PoolPlan, spec: ModelSpec, device: jax.Device, *, stacked: bool, spread: NamedSharding | None = None
) -> Pools:
    """Zeroed pages: one (keys, values) pair a layer (see `KV`), or one for all layers when stacked.

    On CPU they take memory as they are written to.

    Args:
        plan: their sizes.
        spec: the model, or each device's share of it.
        device: where they live, or one of several like it.
        stacked: see above.
        spread: over which devices, if over several; there each has the pages of its share.
    """
    cuts = 1 if spread is None or spread.is_fully_replicated else spread.mesh.size
    count, pages = (1, plan.num_pages * spec.num_layers) if stacked else (spec.num_layers, plan.num_pages)
    shape = (pages, plan.page_size, spec.cache.heads * cuts, spec.cache.head_dim)

    def zeros() -> Pages:
        pages = kv_write.make_pages(shape, plan.dtype, device, spread)
        if device.platform == "cpu":
            for array in (pages.stored, pages.scale):
                if array is not None:
                    host_memory.forget_zeros(array)
        return pages

    return tuple((zeros(), zeros() if spec.cache.values else None) for _ in range(count))
