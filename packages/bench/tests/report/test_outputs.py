from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sgl_jax.bench.errors import ResultsError
from sgl_jax.bench.report.outputs import Document, check_outputs, write_output
from sgl_jax.bench.report.run_document import RunDocument
from sgl_jax.bench.report.sweep_document import SweepDocument
from sgl_jax.bench.results import Results, read_document
from sgl_jax.bench.server_side.series import ServerSeries
from sgl_jax.bench.slo import Slo
from sgl_jax.bench.sweep.results import Level, SweepResults

MakeResults = Callable[..., Results]

BEGINNINGS = {
    ".json": b'{"schema":"sgl-jax-bench/1"',
    ".md": b"## ",
    ".png": b"\x89PNG\r\n\x1a\n",
    ".svg": b"<?xml",
}


def _sweep(results: Results) -> SweepResults:
    levels = tuple(Level(float(value), results.summary, ServerSeries()) for value in (1, 2))
    return SweepResults(
        "concurrent requests", levels, "It was enough.", 2.0, "x", datetime.now(UTC), {"command": "sweep"}
    )


@pytest.fixture(params=["run", "sweep"])
def document(request: pytest.FixtureRequest, make_results: MakeResults) -> Document:
    """A document of each kind."""
    results = make_results(slo=Slo(ttft=0.3))
    return RunDocument(results) if request.param == "run" else SweepDocument(_sweep(results))


@pytest.mark.parametrize("suffix", [".json", ".md"])
def test_the_suffix_chooses_the_format(tmp_path: Path, document: Document, suffix: str) -> None:
    assert write_output(document, tmp_path / f"out{suffix}")
    assert (tmp_path / f"out{suffix}").read_bytes().startswith(BEGINNINGS[suffix])


def test_pictures_are_drawn(tmp_path: Path, make_results: MakeResults) -> None:
    run, sweep = RunDocument(make_results()), SweepDocument(_sweep(make_results(slo=Slo(ttft=0.3))))
    for document, name in ((run, "run.PNG"), (sweep, "sweep.svg")):
        assert write_output(document, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(BEGINNINGS[name[-4:].lower()])


def test_csv_has_a_row_for_each_request_or_level(tmp_path: Path, document: Document) -> None:
    write_output(document, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    assert float(rows[0]["ttft" if "ttft" in rows[0] else "ttft_p50"]) == pytest.approx(0.1)


def test_a_page_needs_nothing_from_elsewhere(tmp_path: Path, make_results: MakeResults) -> None:
    write_output(RunDocument(make_results()), tmp_path / "out.html")
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    sources: list[str | None] = []

    class Finder(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag not in ("script", "link", "iframe")
            sources.extend(value for name, value in attrs if name in ("src", "href", "srcset", "data"))

    Finder().feed(page)
    assert len(sources) == 1
    assert all(source and source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert "url(" not in page
    assert "@import" not in page


def test_a_page_shows_what_a_server_says_as_text(tmp_path: Path, make_results: MakeResults) -> None:
    results = make_results(failed=True)
    results.run.records[0].failure = results.run.records[1].failure
    write_output(RunDocument(results), tmp_path / "out.html")
    write_output(RunDocument(results), tmp_path / "out.md")
    assert "<img" not in (tmp_path / "out.html").read_text(encoding="utf-8"), "nothing to draw"
    assert r"the queue \[red\]is\[/red\] full" in (tmp_path / "out.md").read_text(encoding="utf-8")


def test_nothing_is_drawn_of_failures(tmp_path: Path, make_results: MakeResults) -> None:
    assert not write_output(RunDocument(make_results(failed=True)), tmp_path / "run.png")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_of_one_chunk_an_answer_can_be_drawn(tmp_path: Path, make_results: MakeResults) -> None:
    results = make_results()
    for record in results.run.records:
        record.chunk_times = record.chunk_times[:1]
    assert write_output(RunDocument(results), tmp_path / "run.svg")
    svg = (tmp_path / "run.svg").read_text(encoding="utf-8")
    assert "Response Time Distribution" in svg
    assert not re.search(r'href="http', svg)


def test_markdown_holds_the_tables(document: Document, tmp_path: Path) -> None:
    write_output(document, tmp_path / "out.md")
    text = (tmp_path / "out.md").read_text(encoding="utf-8")
    assert "|---|---:|" in text
    assert "Total Requests | 2 |" in text or "Best Level | 2 concurrent requests |" in text


def test_a_sweep_survives_its_file(tmp_path: Path, make_results: MakeResults) -> None:
    sweep = _sweep(make_results(slo=Slo(ttft=0.3)))
    write_output(SweepDocument(sweep), tmp_path / "sweep.json")
    path = tmp_path / "sweep.json"
    again = SweepResults.from_document(read_document(path), path)
    assert json.dumps(again.to_json()) == json.dumps(sweep.to_json())
    assert again.levels == sweep.levels
    with pytest.raises(ResultsError, match=r"sweep\.json is damaged: KeyError"):
        SweepResults.from_document({"levels": []}, path)


@pytest.mark.parametrize(
    ("name", "message"), [("out.xls", "end its name in one of .json"), ("absent/out.md", "no folder"), (".", "format")]
)
def test_an_impossible_output_is_refused_beforehand(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ResultsError, match=message):
        check_outputs([tmp_path / name])
