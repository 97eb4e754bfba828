"""The contract of paged attention over a ragged batch. Every backend takes and returns exactly this.

Axis letters: T tokens of the step, R rows (sequences), P pages, S tokens a page, H query heads,
K key/value heads, G = H/K query heads a key/value head, D head dimension, B block-table width.

A row is one sequence's share of the step: `row_len` consecutive tokens starting at `row_start` of
the packed token axis, whose last token sees `kv_len` keys. Rows with one token come first; rows
with `row_len == 0` are padding. Tokens see keys at positions up to and including their own; with a
window, only the last `window` of these.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Pages:
    """Keys (or values) of one layer, or of all layers one after the other, as they are stored.

    Attributes:
        stored: storage[P, S, K, D]; `kv_write` knows how to read and write it.
        scale: float32[P, S, K], which multiplies each stored vector; None where the format has none.
        dtype: the element type that the storage stands for; static.
    """

    stored: jax.Array
    scale: jax.Array | None
    dtype: jnp.dtype = field(metadata={"static": True})

    @property
    def shape(self) -> tuple[int, ...]:
        """(P, S, K, D)."""
        return self.stored.shape


class RaggedRows(NamedTuple):
    """Where each row's tokens and keys lie.

    Attributes:
        row_start: int32[R], first token of the row on the T axis.
        row_len: int32[R], tokens of the row in this step.
        kv_len: int32[R], keys that the row's last token sees (computed before + row_len).
        slot: int32[R], the row's line in the block table.
        block_table: int32[slots, B], page ids in sequence order, of which only `slot`'s lines matter. Entries past
            the sequence, and before the window of all its tokens in this step, are arbitrary but valid. It is as
            wide as the longest sequence allowed: take single entries, never whole lines.
    """

    row_start: jax.Array
    row_len: jax.Array
    kv_len: jax.Array
    slot: jax.Array
    block_table: jax.Array


class AttentionBackend(Protocol):
    """Computes attention of the step's tokens over the pages, into which their keys are already written."""

    def __call__(
        self,
        query_thd: jax.Array,
        key_pages: Pages,
        value_pages: Pages,
        rows: RaggedRows,
        *,
        scale: float,
        window: jax.Array | int | None = None,
        softcap: float | None = None,
        sinks: jax.Array | None = None,
        page_offset: jax.Array | int = 0,
        single_token_rows: bool = False,
    ) -> jax.Array:
        """Attends.

        Args:
            query_thd: float[T, H, D], rotated queries.
            key_pages, value_pages: of P pages. They may be one and the same, where values are the first dimensions
                of the keys: then so are they of what is returned.
            rows: the ragged layout.
            scale: multiplies the scores.
            window: keys that a token sees at most, its own included, at least 1; None sees all. Keys before
                every token's window are not read, so that cost follows the window.
            softcap: replaces each scaled score s by softcap * tanh(s / softcap); static.
            sinks: float[H], a score for each head that takes its share of the softmax and gives no value
                (Xiao et al. 2023, "Efficient Streaming Language Models with Attention Sinks").
            page_offset: added to every page id (layers that share one stacked pool).
            single_token_rows: static promise that no row has more than one token.

        Returns:
            float[T, H, D], float32 or the type of the queries; padding tokens hold arbitrary finite values.
        """


class HeadNorms(NamedTuple):
    """Root-mean-square norms of each head's query and key, before these are turned.

    Attributes:
        query, key: float[D], what a normalised vector is multiplied by.
        eps: added to the mean square.
    """

    query: jax.Array
    key: jax.Array
    eps: float


class StoreProjected(Protocol):
    """All that lies between the product for q, k and v and the attention over them, where a backend has one kernel."""

    def __call__(
        self,
        qkv_tf: jax.Array,
        key_pages: Pages,
        value_pages: Pages,
        slots: jax.Array,
        rope: tuple[jax.Array, jax.Array],
        *,
        heads: tuple[int, int, int],
        norms: HeadNorms | None,
    ) -> tuple[jax.Array, Pages, Pages] | None:
        """Normalises and turns queries and keys, and stores keys and values.

        Args:
            qkv_tf: float[T, (H + 2 K) D], heads of queries, then of keys, then of values.
            key_pages, value_pages: two pools of one format.
            slots: int32[T], where each token goes in the flat pool [P * S]; slots past its end are dropped.
            rope: cosines and sines, float32[T, rotary_dim / 2]; pairs are one of each half.
            heads: H, K and D.
            norms: of queries and keys, where the model has them.

        Returns:
            Queries float[T, H, D] in the type of `qkv_tf`, and the updated pages; None where this shape has no kernel.
        """


class AttendProjected(Protocol):
    """The same and the attention after it, for steps in which no row has more than one token."""

    def __call__(
        self,
        qkv_tf: jax.Array,
        key_pages: Pages,
        value_pages: Pages,
        rows: RaggedRows,
        rope: tuple[jax.Array, jax.Array],
        *,
        heads: tuple[int, int, int],
        norms: HeadNorms | None,
        scale: float,
        window: jax.Array | int | None,
        softcap: float | None,
        sinks: jax.Array | None,
        page_offset: jax.Array | int,
    ) -> tuple[jax.Array, Pages, Pages] | None:
        """Attends; keys and values go where the row's last token lies. See `StoreProjected` and `AttentionBackend`.

        Returns:
            What attention gives, float[T, H, D], and the updated pages; None where this shape has no kernel.
        """
