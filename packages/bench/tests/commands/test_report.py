"""`sgl-jax-bench report` and `compare` on files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from sgl_jax.bench.cli import main
from sgl_jax.bench.mock.behaviour import MockBehaviour
from sgl_jax.bench.mock.server import MockServer

StartMock = Callable[[MockBehaviour], MockServer]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _run(url: str, output: str, *flags: str) -> None:
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    assert main(["run", "--url", url, "--quiet", "--max-tokens", "4", "--output", output, *flags]) == 0


def test_a_run_is_rendered_as_it_was(start_mock: StartMock, capsys: pytest.CaptureFixture[str]) -> None:
    _run(start_mock(MockBehaviour(ttft=0.001, itl=0.0)).url, "results.json", "--requests", "5")
    first = capsys.readouterr().out
    assert main(["report", "results.json"]) == 0
    assert capsys.readouterr().out == first
    assert main(["report", "results.json", "--format", "markdown"]) == 0
    assert "| Total Requests | 5 |" in capsys.readouterr().out
    assert main(["report", "results.json", "--slo", "ttft:9s", "--output", "a.md", "--output", "a.csv"]) == 0
    assert capsys.readouterr().out == ""
    assert "Goodput (TTFT 9,000 ms)" in Path("a.md").read_text(encoding="utf-8")
    assert Path("a.csv").read_text(encoding="utf-8").count("\n") == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "absent.json"], "cannot read absent.json: No such file"),
        (["report", "absent.json", "--output", "x.doc"], "cannot tell the format of x.doc"),
        (["compare", "absent.json", "absent.json"], "cannot read absent.json"),
        (["compare", ".", "."], "no .json file in ."),
        (["compare", "a", "b", "--junit", "absent/j.xml"], "no folder absent"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_exit_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_a_regression_fails_the_job(
    start_mock: StartMock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Six times the time of a token: found on any machine, however busy.
    before, after = (start_mock(MockBehaviour(ttft=0.002, itl=itl)) for itl in (0.01, 0.06))
    for number in range(2):
        _run(before.url, f"before/{number}.json", "--requests", "20")
        _run(after.url, f"after/{number}.json", "--requests", "20")
    capsys.readouterr()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    sides = ["before/0.json,before/1.json", "after"]
    limit = ["--measure", "itl_p50", "--fail-if", "itl_p50 > +20%"]
    assert main(["compare", *sides, *limit, "--junit", "j.xml", "--github", "--markdown", "c.md"]) == 1
    out = capsys.readouterr().out
    assert "Verdict: itl_p50: beyond the limit" in out
    assert "::error title=Benchmark%3A itl_p50::" in out
    assert ET.parse("j.xml").getroot().get("failures") == "1"
    assert Path("summary.md").read_text(encoding="utf-8") == Path("c.md").read_text(encoding="utf-8")
    assert "| itl\\_p50 |" in Path("c.md").read_text(encoding="utf-8")

    assert main(["compare", "before", "before", "--format", "markdown"]) == 0
    assert "no difference found" in capsys.readouterr().out
    assert main(["compare", "before", "after", "--fail-if", "itl_p50 > 20"]) == 2
    assert "changes are in percent" in capsys.readouterr().err
