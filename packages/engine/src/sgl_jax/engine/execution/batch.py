"""A plan as one int32 vector: packed on the host, sliced apart on the device.

One upload a step, whatever the plan holds. `Layout` is the single place that knows where a field
lies; packing and unpacking both ask it. A fresh buffer is packed each step, because jax may read a
host buffer after the call returns.
"""

from __future__ import annotations

import struct
from itertools import chain
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
_ROW_KINDS = (*("I" if name == "seed" else "i" for name in ROW_INTS), *"f" * len(ROW_FLOATS))
"""Their types, as `struct` calls them."""
_HOTTEST = float(np.finfo(np.float32).max)
"""Requests may ask for more than a float32 can say; all tokens are equally likely long before."""


class PageDelta(NamedTuple):
    """Pages to put into the block tables: `table[slot, column] = page`, one entry a page."""

    slot: list[int]
    column: list[int]
    page: list[int]

    def __len__(self) -> int:
        return len(self.slot)

    def after(self, count: int) -> PageDelta:
        """All but the first `count`."""
        return PageDelta(self.slot[count:], self.column[count:], self.page[count:])


class Layout:
    """Offsets of every field in the packed vector of a bucket.

    Fields: `token_ids`[T], `token_row`[T], one [R] each of `ROW_INTS` and (bit patterns) `ROW_FLOATS`,
    and `delta_slot`, `delta_column`, `delta_page`[max_delta].

    Args:
        bucket: shape of the step.
        page_size: tokens a page.
        no_slot: a slot number outside the device state, for padding.
    """

    def __init__(self, bucket: Bucket, page_size: int, no_slot: int) -> None:
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
        self._blank = np.zeros(self.size, np.int32)
        self._blank[self.fields["token_row"]] = bucket.num_rows
        self._blank[self.fields["slot"]] = self._blank[self.fields["delta_slot"]] = no_slot
        # All rows in one call, field by field as they lie there: at one row, numpy's calls are most of the packing.
        self._row_fields = struct.Struct("=" + "".join(f"{bucket.num_rows}{kind}" for kind in _ROW_KINDS))
        self._padding_row = (no_slot, *(0,) * (len(_ROW_KINDS) - 1))  # greedy: its temperature is 0

    def pack(self, plan: StepPlan) -> tuple[npt.NDArray[np.int32], PageDelta]:
        """Packs a plan.

        Args:
            plan: at most as large as the bucket.

        Returns:
            int32[size], and the pages that did not fit and must be written beforehand.
        """
        packed = self._blank.copy()
        token_ids, token_row = packed[self.fields["token_ids"]], packed[self.fields["token_row"]]
        rows: list[tuple[float, ...]] = []
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
            rows.append(_row(slot, cursor))
            cursor = end
        if rows:
            rows += [self._padding_row] * (self.bucket.num_rows - len(rows))
            begin = self.fields[ROW_INTS[0]].start * packed.itemsize
            self._row_fields.pack_into(packed.data, begin, *chain.from_iterable(zip(*rows, strict=True)))
        fits = min(len(deltas), self.max_delta)
        if fits:
            for name, values in zip(("delta_slot", "delta_column", "delta_page"), deltas, strict=True):
                packed[self.fields[name]][:fits] = values[:fits]
        return packed, deltas.after(fits)


def _row(slot: SlotPlan, cursor: int) -> tuple[float, ...]:
    """`ROW_INTS` and `ROW_FLOATS` of a row whose tokens begin at `cursor`."""
    sampling, sample = slot.sampling, slot.sample
    return (
        *(slot.slot, slot.start, cursor, slot.num_tokens, not slot.token_ids),
        *(sample, slot.adjust, slot.mask is not None, sample and sampling.logprobs is not None),
        *(sampling.top_k, slot.seed),
        *(min(sampling.temperature, _HOTTEST) if sample else 0.0, sampling.top_p, sampling.min_p),
    )
