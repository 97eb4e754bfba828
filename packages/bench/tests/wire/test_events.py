from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.bench.wire import events
from sgl_jax.bench.wire.events import EventSplitter


@given(
    payloads=st.lists(st.text("abc{}: ", min_size=1).map(str.strip).filter(bool), max_size=5),
    end=st.sampled_from(["\n", "\r\n"]),
    cuts=st.lists(st.integers(0, 200), max_size=5),
)
def test_any_split_of_the_bytes_gives_the_same_events(payloads: list[str], end: str, cuts: list[int]) -> None:
    stream = "".join(f": a comment{end}event: x{end}data: {payload}{end}{end}" for payload in payloads).encode()
    bounds = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    splitter = EventSplitter()
    found = [event for low, high in pairwise(bounds) for event in splitter.feed(stream[low:high])]
    assert [event.decode() for event in found] == payloads


def test_lines_of_data_are_joined() -> None:
    assert EventSplitter().feed(b"data:one\ndata: two\n\ndata") == [b"one\ntwo"]


def test_a_line_without_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_EVENT_BYTES", 100)
    splitter = EventSplitter()
    splitter.feed(b"x" * 100)
    with pytest.raises(ValueError, match="larger than 100 bytes"):
        splitter.feed(b"x")
