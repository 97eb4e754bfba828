"""`sgl-jax-bench sweep` and `report` against the mock server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sgl_jax.bench.cli import main
from sgl_jax.bench.mock.behaviour import MockBehaviour
from sgl_jax.bench.mock.server import MockServer

StartMock = Callable[[MockBehaviour], MockServer]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_server_with_two_slots_is_saturated_by_two_requests(
    start_mock: StartMock, capsys: pytest.CaptureFixture[str]
) -> None:
    server = start_mock(MockBehaviour(ttft=0.02, itl=0.005, slots=2))
    flags = ["--concurrency", "1:16", "--min-gain", "30", "--duration", "0.25", "--max-tokens", "5", "--quiet"]
    assert main(["sweep", "--url", server.url, *flags, "--output", "sweep.json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    document = json.loads(Path("sweep.json").read_text(encoding="utf-8"))
    # 4 requests at a time are served no faster than 2; a machine that is busy stops the climb even earlier.
    assert 2 <= len(document["levels"]) <= 3
    assert [level["value"] for level in document["levels"]] == [1, 2, 4][: len(document["levels"])]
    assert "the server is saturated" in document["stopped"]
    assert document["unit"] == "concurrent requests"
    assert "Stopped Because: At " in out
    prompts = [entry.body["messages"][0]["content"] for entry in server.log]
    assert len(prompts) == len(set(prompts)), "no level repeats another's prompts"

    assert main(["report", "sweep.json", "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("level,tokens_per_second,")
    assert main(["report", "sweep.json", "--slo", "ttft:1s"]) == 2
    assert "give --slo to the sweep itself" in capsys.readouterr().err


def test_rates_climb_until_an_objective_breaks(start_mock: StartMock, capsys: pytest.CaptureFixture[str]) -> None:
    server = start_mock(MockBehaviour(ttft=0.03, itl=0.0))
    flags = [
        "--rates",
        "20,40",
        "--arrivals",
        "poisson",
        "--duration",
        "0.2",
        "--max-tokens",
        "1",
        "--slo",
        "ttft:20ms",
    ]
    assert main(["sweep", "--url", server.url, *flags]) == 1
    out, err = capsys.readouterr()
    assert "At 20 only 0.0% of requests kept the objectives" in out
    assert "Best Level: no level keeps the objectives" in out
    assert "20 requests per second for 0.2 s..." in err


@pytest.mark.parametrize(
    "flags",
    [["--rates", "1", "--concurrency", "1"], ["--concurrency", "1.5"], ["--rates", "2,1"], ["--min-gain", "101"]],
)
def test_wrong_flags_exit_with_2(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["sweep", *flags])
    assert stop.value.code == 2
    assert flags[0] in capsys.readouterr().err
