from __future__ import annotations

from pathlib import Path

import pytest

from sgl_jax.bench.errors import ResultsError
from sgl_jax.bench.plot import plot_run
from sgl_jax.bench.record import RequestFailure, RequestRecord
from sgl_jax.bench.runner import RunResult


def _result(*records: RequestRecord) -> RunResult:
    return RunResult(records, origin=100.0, started_at=0.0, duration=3.0, lag=())


def _good(index: int, chunks: list[float]) -> RequestRecord:
    sent = 100.0 + index
    return RequestRecord(index, sent=sent, chunk_times=[sent + c for c in chunks], end=sent + 1.0, output_tokens=3)


@pytest.mark.parametrize("chunks", [[0.1, 0.2, 0.4], [0.5], []])
def test_runs_of_all_shapes_are_drawn(tmp_path: Path, chunks: list[float]) -> None:
    failed = RequestRecord(9, sent=100.0, end=100.1, failure=RequestFailure("timeout", "slow"))
    path = tmp_path / "run.png"
    assert plot_run(_result(_good(0, chunks), failed, _good(1, chunks)), path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_suffix_chooses_the_format(tmp_path: Path) -> None:
    path = tmp_path / "run.svg"
    assert plot_run(_result(_good(0, [0.1])), path)
    assert "<svg" in path.read_text(encoding="utf-8")


def test_an_unknown_format_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"run\.nothing"):
        plot_run(_result(_good(0, [0.1])), tmp_path / "run.nothing")


def test_nothing_is_drawn_of_failures(tmp_path: Path) -> None:
    failed = RequestRecord(0, sent=100.0, end=100.1, failure=RequestFailure("timeout", "slow"))
    assert not plot_run(_result(failed), tmp_path / "run.png")
    assert list(tmp_path.iterdir()) == []
