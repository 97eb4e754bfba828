from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.bench.mock.behaviour import Freeze, MockBehaviour, advance

seconds = st.floats(0, 100, allow_nan=False)
freezes = st.lists(st.builds(Freeze, seconds, seconds), max_size=4)


def test_without_freezes_tokens_are_due_at_even_steps() -> None:
    behaviour = MockBehaviour(ttft=0.5, itl=0.25)
    assert [behaviour.due(10.0, token) for token in (1, 2, 3)] == [10.5, 10.75, 11.0]


def test_a_server_that_batches_sends_in_step() -> None:
    behaviour = MockBehaviour(ttft=0.3, itl=0.25, in_step=True)
    assert [behaviour.due(start, 1) for start in (0.0, 0.1, 0.2, 0.3)] == [0.5, 0.5, 0.5, 0.75]
    assert [behaviour.due(0.1, token) for token in (1, 2, 3)] == [0.5, 0.75, 1.0]


def test_a_freeze_delays_what_is_due_in_or_after_it_by_its_length() -> None:
    behaviour = MockBehaviour(ttft=1.0, itl=1.0, freezes=(Freeze(2.5, 5.0),))
    assert [behaviour.due(0.0, token) for token in (1, 2, 3, 4)] == [1.0, 2.0, 8.0, 9.0]


def test_a_request_that_arrives_in_a_freeze_starts_after_it() -> None:
    assert advance(3.0, 1.0, [Freeze(2.0, 5.0)]) == 8.0


def test_a_freeze_in_the_past_changes_nothing() -> None:
    assert advance(10.0, 1.0, [Freeze(2.0, 5.0)]) == 11.0


@given(start=seconds, work=seconds, freezes=freezes)
def test_freezes_only_delay_and_by_no_more_than_their_sum(start: float, work: float, freezes: list[Freeze]) -> None:
    end = advance(start, work, freezes)
    assert start + work - 1e-6 <= end <= start + work + sum(f.duration for f in freezes) + 1e-6


@given(start=seconds, work=st.lists(seconds, min_size=2, max_size=2), freezes=freezes)
def test_more_work_never_ends_earlier(start: float, work: list[float], freezes: list[Freeze]) -> None:
    less, more = sorted(work)
    assert advance(start, less, freezes) <= advance(start, more, freezes) + 1e-6


@pytest.mark.parametrize(("tokens", "per_chunk", "sizes"), [(None, 3, [3, 3, 1]), (4, 2, [2, 2]), (1, 5, [1])])
def test_chunks_hold_all_tokens(tokens: int | None, per_chunk: int, sizes: list[int]) -> None:
    assert MockBehaviour(tokens=tokens, tokens_per_chunk=per_chunk).chunk_sizes(max_tokens=7) == sizes
