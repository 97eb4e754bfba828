"""What a step grants: as much as fits, and of several tokens never one by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.engine.plan import StepLimits
from sgl_jax.engine.scheduling.budget import Budget


def granted(limits: StepLimits, max_slots: int, others: int, wanted: int) -> int:
    """What is granted of `wanted` tokens beside others that take one each."""
    budget = Budget(limits, max_slots)
    budget.spend(others)
    return budget.grant(wanted)


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 40), st.integers(1, 200), st.data())
def test_a_prompt_is_computed_to_its_end_in_chunks(max_chunk, max_slots, more, wanted, data):
    limits = StepLimits(max(max_chunk, max_slots) + more, max_chunk)
    wide = max_chunk >= 3 and limits.max_tokens >= max_slots + 2
    several = wanted > 1
    while wanted:
        count = granted(limits, max_slots, data.draw(st.integers(0, max_slots - 1)), wanted)
        assert 0 < count <= max_chunk, "no place for a prompt among as many requests as may run at once"
        wanted -= count
        assert not (wide and several and 1 in (count, wanted)), "a token by itself"


def test_a_step_without_room_for_two_tokens_leaves_a_prompt_for_the_next_one():
    limits = StepLimits(max_tokens=16, max_chunk=16)
    assert [granted(limits, 8, others, wanted=3) for others in (12, 13, 14, 15, 16)] == [3, 3, 0, 0, 0]
    assert [granted(limits, 8, others, wanted=1) for others in (15, 16)] == [1, 0]
    assert granted(limits, 8, 0, wanted=17) == 15
