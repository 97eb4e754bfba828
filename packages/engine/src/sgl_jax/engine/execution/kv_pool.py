"""The KV pool on the device: how large it may be, and its zeros."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sgl_jax.engine.attention.kv_write import stored_dtype
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.errors import ConfigError
from sgl_jax.engine.execution.step import Pools

CPU_DEFAULT_TOKENS = 32768
CPU_MEMORY_FRACTION = 0.25
GPU_MEMORY_FRACTION = 0.85
_MIB = 1 << 20


class PoolPlan(NamedTuple):
    """Size of the pool: pages a layer, tokens a page, stored element type, bytes in total."""

    num_pages: int
    page_size: int
    dtype: jnp.dtype
    num_bytes: int

    @property
    def num_tokens(self) -> int:
        """Tokens that fit."""
        return self.num_pages * self.page_size


def plan_pool(config: EngineConfig, spec: ModelSpec, dtype: jnp.dtype, device: jax.Device, free_bytes: int) -> PoolPlan:
    """Sizes the pool from the flags, else from what is free.

    Args:
        config: `max_total_tokens` decides when given; else `mem_fraction_static`.
        spec: the model.
        dtype: type of keys and values.
        device: where the pool will live.
        free_bytes: memory left after the weights (on CPU: available RAM).

    Raises:
        ConfigError: not even one page fits; the message says what to change.
    """
    stored = stored_dtype(dtype, device.platform)
    token_bytes = 2 * spec.num_layers * spec.num_kv_heads * spec.head_dim * stored.itemsize
    page_bytes = token_bytes * config.page_size
    if config.max_total_tokens is not None:
        num_pages = -(-config.max_total_tokens // config.page_size)
    else:
        default = CPU_MEMORY_FRACTION if device.platform == "cpu" else GPU_MEMORY_FRACTION
        num_pages = int(free_bytes * (config.mem_fraction_static or default)) // page_bytes
        if device.platform == "cpu":
            longest = config.max_seq_len or spec.max_position_embeddings
            num_pages = min(num_pages, -(-max(CPU_DEFAULT_TOKENS, longest) // config.page_size))
    if num_pages < 1:
        raise ConfigError(
            f"No memory for the KV pool: {free_bytes / _MIB:.0f} MiB are free and a page of {config.page_size} tokens "
            f"takes {page_bytes / _MIB:.2f} MiB. Raise --mem-fraction-static or set --max-total-tokens."
        )
    return PoolPlan(num_pages, config.page_size, stored, num_pages * page_bytes)


def make_pools(plan: PoolPlan, spec: ModelSpec, device: jax.Device, *, stacked: bool) -> Pools:
    """Zeroed pages: one (keys, values) pair a layer, or one for all layers when stacked."""
    count, pages = (1, plan.num_pages * spec.num_layers) if stacked else (spec.num_layers, plan.num_pages)
    shape = (pages, plan.page_size, spec.num_kv_heads, spec.head_dim)

    def zeros() -> jax.Array:
        return jnp.zeros(shape, plan.dtype, device=device)

    return tuple((zeros(), zeros()) for _ in range(count))
