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

    def pack(self, plan: StepPlan, no_slot: int) -> tuple[npt.NDArray[np.int32], PageDelta]:
        """Packs a plan.

        Args:
            plan: at most as large as the bucket.
            no_slot: a slot number outside the device state, for padding.

        Returns:
            int32[size], and the pages that did not fit and must be written beforehand.
        """
        packed = np.zeros(self.size, np.int32)
        field = {name: packed[where] for name, where in self.fields.items()}
        field["slot"].fill(no_slot)
        field["delta_slot"].fill(no_slot)
        field["token_row"].fill(self.bucket.num_rows)
        field["temperature"].view(np.float32).fill(0.0)
        deltas = PageDelta([], [], [])
        cursor = 0
        for row, slot in enumerate(plan.slots):
            end = cursor + slot.num_tokens
            if slot.token_ids:
                field["token_ids"][cursor:end] = slot.token_ids
            field["token_row"][cursor:end] = row
            if slot.new_pages:
                deltas.slot.extend([slot.slot] * len(slot.new_pages))
                deltas.column.extend(range(slot.new_page_index, slot.new_page_index + len(slot.new_pages)))
                deltas.page.extend(slot.new_pages)
            cursor = end
        _fill_rows(field, plan.slots)
        fits = min(len(deltas), self.max_delta)
        for name, values in zip(("delta_slot", "delta_column", "delta_page"), deltas, strict=True):
            field[name][:fits] = values[:fits]
        return packed, PageDelta(*(values[fits:] for values in deltas))


def _fill_rows(field: dict[str, npt.NDArray[np.int32]], slots: tuple[SlotPlan, ...]) -> None:
    """Writes the per-row fields, a column at a time: one conversion a column instead of one a number."""
    rows = len(slots)
    lengths = [slot.num_tokens for slot in slots]
    samplings = [slot.sampling for slot in slots]
    field["slot"][:rows] = [slot.slot for slot in slots]
    field["start"][:rows] = [slot.start for slot in slots]
    field["row_len"][:rows] = lengths
    field["row_start"][:rows] = np.cumsum(lengths) - lengths
    field["feedback"][:rows] = [not slot.token_ids for slot in slots]
    field["sample"][:rows] = [slot.sample for slot in slots]
    field["adjust"][:rows] = [slot.adjust for slot in slots]
    field["masked"][:rows] = [slot.mask is not None for slot in slots]
    field["logprobs"][:rows] = [slot.sample and slot.sampling.logprobs is not None for slot in slots]
    field["top_k"][:rows] = [sampling.top_k for sampling in samplings]
    field["seed"].view(np.uint32)[:rows] = [slot.seed for slot in slots]
    field["temperature"].view(np.float32)[:rows] = [slot.sampling.temperature if slot.sample else 0.0 for slot in slots]
    field["top_p"].view(np.float32)[:rows] = [sampling.top_p for sampling in samplings]
    field["min_p"].view(np.float32)[:rows] = [sampling.min_p for sampling in samplings]
