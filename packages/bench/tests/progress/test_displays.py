from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.bench.progress.display import make_progress
from sgl_jax.bench.progress.sparkline import sparkline
from sgl_jax.bench.progress.tally import Tally
from sgl_jax.bench.record import RequestFailure, RequestRecord


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _finish(out: io.StringIO, total: int, *, quiet: bool = False, failed: int = 0) -> str:
    progress = make_progress(total, out, quiet=quiet)
    progress.say("Starting")
    with progress:
        for index in range(total):
            failure = RequestFailure("timeout", "slow") if index < failed else None
            record = RequestRecord(index, sent=0.0, chunk_times=[0.5, 0.75], end=1.0, output_tokens=5, failure=failure)
            progress.on_start(record)
            progress.on_record(record)
    return out.getvalue()


def test_plain_lines_come_at_every_tenth() -> None:
    lines = _finish(io.StringIO(), 40, failed=3).splitlines()
    assert lines[0] == "Starting"
    assert [line.split()[0] for line in lines[1:]] == [f"{done}/40" for done in range(4, 41, 4)]
    assert lines[-1].endswith("3 failed")


def test_few_requests_show_one_line_each() -> None:
    assert len(_finish(io.StringIO(), 3).splitlines()) == 4


def test_more_requests_than_expected_raise_the_total() -> None:
    """Later turns of conversations cannot be counted beforehand."""
    out = io.StringIO()
    progress = make_progress(2, out, quiet=False)
    records = [RequestRecord(index, sent=0.0, end=1.0) for index in range(5)]
    with progress:
        for record in records:
            progress.on_start(record)
        for record in records:
            progress.on_record(record)
    assert "5/5 requests" in out.getvalue()


def test_plain_lines_hold_no_control_codes() -> None:
    assert "\x1b" not in _finish(io.StringIO(), 20)


def test_a_terminal_gets_a_live_table() -> None:
    before = sys.getswitchinterval()
    text = _finish(_Terminal(), 20, failed=1)
    assert all(part in text for part in ("Starting", "20/20", "Running", "TTFT p50", "500 ms", "ITL p99", "Failed"))
    assert "\x1b" in text
    assert sys.getswitchinterval() == before


def test_a_display_can_be_used_again() -> None:
    progress = make_progress(None, _Terminal(), quiet=False)
    for _ in range(2):
        with progress:
            pass


def test_quiet_is_silent() -> None:
    assert _finish(io.StringIO(), 20, quiet=True) == ""


def test_a_tally_counts_chunks_while_they_come() -> None:
    tally = Tally()
    record = RequestRecord(0, sent=0.0)
    tally.start(record)
    record.chunk_times += [1.0, 2.0]
    assert (tally.running, tally.chunks, tally.done) == (1, 2, 0)
    tally.finish(record)
    assert (tally.running, tally.chunks, tally.done) == (0, 2, 1)


@pytest.mark.parametrize(
    ("values", "curve"), [([], ""), ([0, 0], "▁▁"), ([0, 1, 2, 4], "▁▃▅█"), ([5], "█"), ([-1, 2], "▁█")]
)
def test_a_sparkline_rises_with_its_values(values: list[float], curve: str) -> None:
    assert sparkline(values) == curve


@given(st.lists(st.floats(0, 1e9)))
def test_a_sparkline_has_a_bar_for_each_value(values: list[float]) -> None:
    assert len(sparkline(values)) == len(values)
