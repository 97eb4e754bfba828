"""The contract of paged attention over a ragged batch. Every backend takes and returns exactly this.

Axis letters: T tokens of the step, R rows (sequences), P pages, S tokens a page, H query heads,
K key/value heads, G = H/K query heads a key/value head, D head dimension, B block-table width.

A row is one sequence's share of the step: `row_len` consecutive tokens starting at `row_start` of
the packed token axis, whose last token sees `kv_len` keys. Rows with one token come first; rows
with `row_len == 0` are padding. Tokens see keys at positions up to and including their own; with a
window, only the last `window` of these.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import jax


class RaggedRows(NamedTuple):
    """Where each row's tokens and keys lie.

    Attributes:
        row_start: int32[R], first token of the row on the T axis.
        row_len: int32[R], tokens of the row in this step.
        kv_len: int32[R], keys that the row's last token sees (computed before + row_len).
        block_table: int32[R, B], page ids in sequence order; entries past the sequence are arbitrary but valid.
    """

    row_start: jax.Array
    row_len: jax.Array
    kv_len: jax.Array
    block_table: jax.Array


class AttentionBackend(Protocol):
    """Computes attention of the step's tokens over the pages, into which their keys are already written."""

    def __call__(
        self,
        query_thd: jax.Array,
        key_pages: jax.Array,
        value_pages: jax.Array,
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
            key_pages, value_pages: storage[P, S, K, D], see `kv_write.stored_dtype`.
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
            float32[T, H, D]; padding tokens hold arbitrary finite values.
        """
