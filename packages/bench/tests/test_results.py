from __future__ import annotations

import json
from pathlib import Path

import pytest

from sgl_jax.bench.errors import ResultsError
from sgl_jax.bench.record import RequestFailure, RequestRecord
from sgl_jax.bench.results import Results
from sgl_jax.bench.runner import RunResult
from sgl_jax.bench.server_side.sample import ServerSample
from sgl_jax.bench.server_side.series import ServerSeries
from sgl_jax.bench.slo import Slo


def _results(slo: Slo | None = None) -> Results:
    records = (
        RequestRecord(
            0, sent=100.0, chunk_times=[100.5, 101.0], end=101.5, input_tokens=3, output_tokens=4, workload="a"
        ),
        RequestRecord(1, sent=101.0, due=100.75, end=102.0, failure=RequestFailure("http_500", "broken", 500)),
    )
    run = RunResult(records, origin=100.0, started_at=1_700_000_000.0, duration=2.0, lag=(0.001, 0.002))
    series = ServerSeries((ServerSample(0.0, running=1.0), ServerSample(1.0, running=3.0)))
    return Results(run, "questions", {"kind": "concurrent", "streams": 2}, {"command": "run"}, slo, series)


@pytest.mark.parametrize("slo", [None, Slo(ttft=1.0)])
def test_results_survive_their_file(tmp_path: Path, slo: Slo | None) -> None:
    results = _results(slo)
    results.write(tmp_path / "results.json")
    again = Results.read(tmp_path / "results.json")
    assert again.summary == results.summary
    assert again.timeline == results.timeline
    assert again.server_side == results.server_side
    assert again.to_json() == results.to_json()


def test_times_in_the_file_count_from_the_start_of_the_run() -> None:
    document = json.loads(json.dumps(_results().to_json(), allow_nan=False))
    assert document["schema"] == "sgl-jax-bench/1"
    assert document["started_at"] == "2023-11-14T22:13:20.000+00:00"
    assert [(r["sent"], r["due"], r["end"]) for r in document["requests"]] == [(0.0, None, 1.5), (1.0, 0.75, 2.0)]


def test_the_frame_has_a_row_for_each_request() -> None:
    frame = _results().frame()
    assert frame["ok"].tolist() == [True, False]
    assert frame["ttft"][0] == 0.5
    assert frame["itl_max"].isna().tolist() == [False, True]
    assert frame["e2e"].tolist() == [1.5, 1.25]
    assert frame["failure"][1] == "http_500"
    assert frame["workload"][0] == "a"


def test_the_timeline_adds_up() -> None:
    results = _results()
    timeline = results.timeline
    busy = sum(timeline.concurrency) * timeline.step
    assert busy == pytest.approx(1.5 + 1.0, abs=0.01)
    assert sum(timeline.tokens_per_second) * timeline.step == pytest.approx(4.0, abs=0.01)
    assert max(timeline.concurrency) == 2.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read"),
        ("{", "is not a results file"),
        ("[]", "its schema is None"),
        ('{"schema": "other/9"}', "its schema is 'other/9'"),
        ('{"schema": "sgl-jax-bench/1"}', "is damaged: KeyError"),
        ('{"schema": "sgl-jax-bench/1", "levels": []}', "holds a sweep"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "results.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ResultsError, match=message) as error:
        Results.read(path)
    assert "results.json" in str(error.value)


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="cannot write"):
        _results().write(tmp_path / "absent" / "results.json")
