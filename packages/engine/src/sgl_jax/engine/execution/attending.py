"""A layer's attention within a step: where its tokens go in the pool, and which of a backend's parts are called."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sgl_jax.engine.attention.api import HeadNorms, RaggedRows
from sgl_jax.engine.attention.backends import PagedAttention
from sgl_jax.engine.models.base import KV, Attend, AttendProjected


class StepAttention(NamedTuple):
    """What all layers of a step attend with.

    Attributes:
        backend: does it.
        rows: the ragged batch.
        single: static, whether every row has one token.
        page, offset: int32[T], where each token's keys go: a page of a layer, and the place in it.
        live: bool[T], false for padding, which goes nowhere.
    """

    backend: PagedAttention
    rows: RaggedRows
    single: bool
    page: jax.Array
    offset: jax.Array
    live: jax.Array

    def of_layer(self, window: jax.Array | int | None, page_offset: jax.Array | int) -> Attend:
        """The attention of a layer, whose pages begin at `page_offset`."""
        return functools.partial(_attend, self, window=window, page_offset=page_offset)

    def projected_of_layer(
        self,
        window: jax.Array | int | None,
        page_offset: jax.Array | int,
        rope: tuple[jax.Array, jax.Array],
    ) -> AttendProjected | None:
        """The same from the product for q, k and v on, if the backend has it."""
        if self.backend.store_projected is None:
            return None
        return functools.partial(_attend_projected, self, rope, window=window, page_offset=page_offset)

    def slots(self, kv: KV, page_offset: jax.Array | int) -> jax.Array:
        """int32[T]: each token's place in the flat pool."""
        num_pages, page_size = kv[0].shape[:2]
        # Padding goes past the end of the pool, each token elsewhere: indices stay distinct and are dropped.
        nowhere = num_pages * page_size + jnp.arange(self.live.shape[0], dtype=jnp.int32)
        return jnp.where(self.live, (self.page + page_offset) * page_size + self.offset, nowhere)

    def over_pages(
        self,
        query: jax.Array,
        kv: KV,
        *,
        scale: float,
        softcap: float | None,
        sinks: jax.Array | None,
        window: jax.Array | int | None,
        page_offset: jax.Array | int,
    ) -> tuple[jax.Array, KV]:
        """Attends over pages that hold the step's own keys already."""
        keys, values = kv
        out = self.backend.attend(
            query,
            keys,
            keys if values is None else values,
            self.rows,
            scale=scale,
            window=window,
            softcap=softcap,
            sinks=sinks,
            page_offset=page_offset,
            single_token_rows=self.single,
        )
        return out, kv


def _attend(
    step: StepAttention,
    query: jax.Array,
    key: jax.Array,
    value: jax.Array | None,
    kv: KV,
    *,
    scale: float,
    softcap: float | None = None,
    sinks: jax.Array | None = None,
    window: jax.Array | int | None,
    page_offset: jax.Array | int,
) -> tuple[jax.Array, KV]:
    """Writes the new keys and values, then attends over all of them."""
    slots = step.slots(kv, page_offset)
    keys = step.backend.write(kv[0], key, slots)
    values = None if kv[1] is None or value is None else step.backend.write(kv[1], value, slots)
    return step.over_pages(
        query, (keys, values), scale=scale, softcap=softcap, sinks=sinks, window=window, page_offset=page_offset
    )


def _attend_projected(
    step: StepAttention,
    rope: tuple[jax.Array, jax.Array],
    qkv: jax.Array,
    kv: KV,
    *,
    heads: tuple[int, int, int],
    norms: HeadNorms | None,
    scale: float,
    softcap: float | None = None,
    sinks: jax.Array | None = None,
    window: jax.Array | int | None,
    page_offset: jax.Array | int,
) -> tuple[jax.Array, KV] | None:
    """Norms, rotation and write in one kernel, which may do the attention, too."""
    store, whole = step.backend.store_projected, step.backend.attend_projected
    if store is None or kv[1] is None:
        return None
    if whole is not None and step.single:
        attended = whole(
            *(qkv, kv[0], kv[1], step.rows, rope),
            heads=heads,
            norms=norms,
            scale=scale,
            window=window,
            softcap=softcap,
            sinks=sinks,
            page_offset=page_offset,
        )
        if attended is not None:
            return attended[0], (attended[1], attended[2])
    stored = store(qkv, kv[0], kv[1], step.slots(kv, page_offset), rope, heads=heads, norms=norms)
    if stored is None:
        return None
    query, *pages = stored
    return step.over_pages(
        query, (pages[0], pages[1]), scale=scale, softcap=softcap, sinks=sinks, window=window, page_offset=page_offset
    )
