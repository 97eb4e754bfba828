from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.engine.execution.batch import ROW_FLOATS, Layout
from sgl_jax.engine.execution.buckets import Bucket
from sgl_jax.engine.plan import SlotPlan, StepPlan
from sgl_jax.engine.sampling_params import SamplingParams

PAGE, NO_SLOT = 4, 9


@st.composite
def slot_plans(draw: st.DrawFn) -> SlotPlan:
    ids = draw(st.lists(st.integers(0, 2**31 - 1), max_size=4))
    pages = draw(st.lists(st.integers(0, 99), max_size=2))
    sampling = SamplingParams(
        temperature=draw(st.floats(0, 1e308, allow_nan=False)),
        top_p=draw(st.floats(1e-300, 1)),
        min_p=draw(st.floats(0, 1)),
        top_k=draw(st.integers(-1, 2**31 - 1)),
        logprobs=draw(st.sampled_from([None, 3])),
    )
    return SlotPlan(
        draw(st.integers(0, NO_SLOT - 1)),
        draw(st.integers(0, 2**20)),
        len(ids) or 1,
        ids,
        draw(st.integers(0, 5)),
        pages,
        draw(st.booleans()),
        sampling,
        draw(st.integers(0, 2**32 - 1)),
        draw(st.booleans()),
    )


def field(layout: Layout, packed: npt.NDArray[np.int32], name: str) -> list[float]:
    values = packed[layout.fields[name]]
    return (values.view(np.float32) if name in ROW_FLOATS else values).tolist()


@given(slots=st.lists(slot_plans(), max_size=4))
def test_what_is_packed_is_the_plan(slots: list[SlotPlan]) -> None:
    layout = Layout(Bucket(16, 5, single=False), PAGE, NO_SLOT)
    packed, overflow = layout.pack(StepPlan(tuple(slots)))
    assert packed.dtype == np.int32
    assert packed.shape == (layout.size,)
    assert not overflow
    padding = 5 - len(slots)
    starts = np.cumsum([0, *(slot.num_tokens for slot in slots)]).tolist()
    tokens: list[int] = [token for slot in slots for token in (slot.token_ids or [0])]
    rows = [row for row, slot in enumerate(slots) for _ in range(slot.num_tokens)]
    pages = [(slot.slot, slot.new_page_index + at, page) for slot in slots for at, page in enumerate(slot.new_pages)]
    pages += [(NO_SLOT, 0, 0)] * (layout.max_delta - len(pages))
    drawn = [slot.sampling if slot.sample else None for slot in slots]
    seeds = np.array(field(layout, packed, "seed"), np.int32).view(np.uint32).tolist()
    expected: dict[str, list[float]] = {
        "token_ids": tokens + [0] * (16 - len(tokens)),
        "token_row": rows + [5] * (16 - len(rows)),
        "slot": [slot.slot for slot in slots] + [NO_SLOT] * padding,
        "start": [slot.start for slot in slots] + [0] * padding,
        "row_start": starts[:-1] + [0] * padding,
        "row_len": [slot.num_tokens for slot in slots] + [0] * padding,
        "feedback": [not slot.token_ids for slot in slots] + [0] * padding,
        "sample": [slot.sample for slot in slots] + [0] * padding,
        "adjust": [slot.adjust for slot in slots] + [0] * padding,
        "masked": [0] * 5,
        "logprobs": [one is not None and one.logprobs is not None for one in drawn] + [0] * padding,
        "top_k": [slot.sampling.top_k for slot in slots] + [0] * padding,
        "temperature": [0.0 if one is None else min(one.temperature, float(np.finfo("f4").max)) for one in drawn]
        + [0.0] * padding,
        "top_p": [slot.sampling.top_p for slot in slots] + [0.0] * padding,
        "min_p": [slot.sampling.min_p for slot in slots] + [0.0] * padding,
        "delta_slot": [slot for slot, _, _ in pages],
        "delta_column": [column for _, column, _ in pages],
        "delta_page": [page for _, _, page in pages],
    }
    for name, values in expected.items():
        kind = np.float32 if name in ROW_FLOATS else np.int32
        assert field(layout, packed, name) == np.array(values, kind).tolist(), name
    assert seeds == [slot.seed for slot in slots] + [0] * padding


def test_pages_beyond_the_room_are_handed_back() -> None:
    layout = Layout(Bucket(1, 1, single=True), PAGE, NO_SLOT)
    pages = list(range(layout.max_delta + 2))
    slot = SlotPlan(3, 0, 1, (7,), 5, pages, True, SamplingParams(), 0)
    packed, overflow = layout.pack(StepPlan((slot,)))
    assert field(layout, packed, "delta_page") == pages[:-2]
    assert overflow == ([3, 3], [5 + len(pages) - 2, 5 + len(pages) - 1], pages[-2:])


def test_each_step_has_a_vector_of_its_own() -> None:
    layout = Layout(Bucket(2, 2, single=True), PAGE, NO_SLOT)
    first, _ = layout.pack(StepPlan((SlotPlan(3, 0, 1, (7,), 0, (), True, SamplingParams(), 0),)))
    before = first.copy()
    second, _ = layout.pack(StepPlan(()))
    assert (first == before).all()
    assert field(layout, second, "slot") == [NO_SLOT, NO_SLOT]
