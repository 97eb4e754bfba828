"""A plan as one int32 vector: packed on the host, sliced apart on the device.

One upload a step, whatever the plan holds. `Layout` is the single place that knows where a field
lies; packing and unpacking both ask it. A fresh buffer is packed each step, because jax may read a
host buffer after the call returns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sgl_jax.engine.execution.buckets import Bucket
from sgl_jax.engine.plan import SlotPlan, StepPlan

ROW_INTS = (
    *("slot", "start", "row_start", "row_len", "feedback"),
    *("sample", "adjust", "masked", "logprobs", "top_k", "seed"),
)
ROW_FLOATS = ("temperature", "top_p", "min_p")


class PageDelta(NamedTuple):
    """Pages to put into the block tables: `table[slot, column] = page`, one entry a page."""

    slot: list[int]
    column: list[int]
    page: list[int]

    def __len__(self) -> int:
        return len(self.slot)


class Layout:
    """Offsets of every field in the packed vector of a bucket.

    Fields: `token_ids`[T], `token_row`[T], one [R] each of `ROW_INTS` and (bit patterns) `ROW_FLOATS`,
    and `delta_slot`, `delta_column`, `delta_page`[max_delta].
    """

    def __init__(self, bucket: Bucket, page_size: int) -> None:
        self.bucket = bucket
        self.max_delta = bucket.num_tokens // page_size + 2 * bucket.num_rows
        sizes = {"token_ids": bucket.num_tokens, "token_row": bucket.num_tokens}
        sizes |= dict.fromkeys((*ROW_INTS, *ROW_FLOATS), bucket.num_rows)
        sizes |= dict.fromkeys(("delta_slot", "delta_column", "delta_page"), self.max_delta)
        self.fields: dict[str, slice] = {}
        end = 0
        for name, size in sizes.items():
            self.fields[name] = slice(end, end + size)
            end += size
        self.size = end
        self._row_size = bucket.num_rows * len((*ROW_INTS, *ROW_FLOATS))

    def pack(self, plan: StepPlan, no_slot: int) -> tuple[npt.NDArray[np.int32], PageDelta]:
        """Packs a plan.

        Args:
            plan: at most as large as the bucket.
            no_slot: a slot number outside the device state, for padding.

        Returns:
            int32[size], and the pages that did not fit and must be written beforehand.
        """
        packed = np.zeros(self.size, np.int32)  # padding rows are greedy: their temperature is 0.0
        token_ids, token_row = packed[self.fields["token_ids"]], packed[self.fields["token_row"]]
        token_row.fill(self.bucket.num_rows)
        packed[self.fields["slot"]].fill(no_slot)
        packed[self.fields["delta_slot"]].fill(no_slot)
        deltas = PageDelta([], [], [])
        cursor = 0
        for row, slot in enumerate(plan.slots):
            end = cursor + slot.num_tokens
            if slot.token_ids:
                token_ids[cursor:end] = slot.token_ids
            token_row[cursor:end] = row
            if slot.new_pages:
                deltas.slot.extend([slot.slot] * len(slot.new_pages))
                deltas.column.extend(range(slot.new_page_index, slot.new_page_index + len(slot.new_pages)))
                deltas.page.extend(slot.new_pages)
            cursor = end
        self._fill_rows(packed, plan.slots)
        fits = min(len(deltas), self.max_delta)
        if fits:
            for name, values in zip(("delta_slot", "delta_column", "delta_page"), deltas, strict=True):
                packed[self.fields[name]][:fits] = values[:fits]
        return packed, PageDelta(*(values[fits:] for values in deltas))

    def _fill_rows(self, packed: npt.NDArray[np.int32], slots: tuple[SlotPlan, ...]) -> None:
        """Writes the per-row fields: two conversions in all, which at one row are half of the host's packing."""
        ints, floats = [], []
        cursor = 0
        for slot in slots:
            sampling = slot.sampling
            ints.append(
                (
                    *(slot.slot, slot.start, cursor, slot.num_tokens, not slot.token_ids),
                    *(slot.sample, slot.adjust, slot.mask is not None, slot.sample and sampling.logprobs is not None),
                    *(sampling.top_k, slot.seed),
                )
            )
            floats.append((sampling.temperature if slot.sample else 0.0, sampling.top_p, sampling.min_p))
            cursor += slot.num_tokens
        rows, begin = len(slots), self.fields[ROW_INTS[0]].start
        if rows:  # seeds are 32 bits without a sign, hence the wider type in between
            fields = packed[begin : begin + self._row_size].reshape(-1, self.bucket.num_rows)[:, :rows]
            fields[: len(ROW_INTS)] = np.array(ints, np.int64).astype(np.int32).T
            fields[len(ROW_INTS) :] = np.array(floats, np.float32).view(np.int32).T
