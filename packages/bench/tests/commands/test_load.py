"""`sgl-jax-bench load` against the mock server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sgl_jax.bench.cli import main
from sgl_jax.bench.mock.behaviour import Freeze, MockBehaviour
from sgl_jax.bench.mock.server import MockServer

StartMock = Callable[[MockBehaviour], MockServer]
FAST = MockBehaviour(ttft=0.0, itl=0.0)
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_guides_command_gives_its_rows_and_its_picture(
    start_mock: StartMock, capsys: pytest.CaptureFixture[str]
) -> None:
    server = start_mock(FAST)
    assert main(["load", "--url", server.url, "--duration", "0.5", "--rps", "40", "--plot"]) == 0
    out = capsys.readouterr().out
    rows = out.split("=== Load Test Results ===\n")[1].split("\n\n")[0].splitlines()
    assert rows[:3] == ["total_requests: 20", "successful_requests: 20", "failed_requests: 0"]
    assert "total_tokens: 1000" in rows
    assert "avg_tokens_per_request: 50.000" in rows
    assert "Plot saved to load_test_results.png" in out
    assert Path("load_test_results.png").read_bytes().startswith(PNG)
    prompts = {entry.body["messages"][0]["content"] for entry in server.log}
    assert len(prompts) == 20


def test_a_stall_shows_in_full(start_mock: StartMock) -> None:
    """Requests keep leaving while the server stands still, and the wait of each counts from when it was due."""
    server = start_mock(MockBehaviour(ttft=0.001, itl=0.0, freezes=(Freeze(0.5, 1.0),)))
    flags = ["--duration", "2", "--rps", "30", "--max-tokens", "2", "--output", "results.json", "--quiet"]
    assert main(["load", "--url", server.url, *flags]) == 0
    document = json.loads(Path("results.json").read_text(encoding="utf-8"))
    latencies = {request["index"]: request["end"] - request["due"] for request in document["requests"]}
    # Tester and mock share a clock here, so what the mock did can be held against what the tester says.
    thawed = server.log[0].arrived + 1.5
    stalled = []
    for entry in server.log:
        index = int(entry.body["messages"][0]["content"].removeprefix("Request ").partition(":")[0])
        assert latencies[index] >= entry.sent[-1] - entry.arrived - 1e-5
        if entry.arrived < thawed <= entry.sent[-1]:
            stalled.append(latencies[index])
    assert len(latencies) == 60
    # 30 were due in the stall; a closed loop of so few callers would have sent one each.
    assert len(stalled) >= 15
    # Requests are due every 33 ms, so two of them in the first 67 ms of the stall: they wait for nearly all of it, and
    # the 99th percentile of 60 lies between them. No delay of this machine can make that less.
    e2e = document["summary"]["e2e"]
    assert e2e["percentiles"]["p99"] >= 1.0 - 2 / 30 - 1e-3
    assert e2e["max"] == pytest.approx(max(latencies.values()), abs=1e-5)


@pytest.mark.parametrize("arrivals", ["poisson", "gamma"])
def test_arrivals_are_fixed_by_the_seed(start_mock: StartMock, arrivals: str) -> None:
    server = start_mock(FAST)
    flags = ["--duration", "0.2", "--rps", "100", "--arrivals", arrivals, "--max-tokens", "1", "--quiet"]
    dues = []
    for name in ("a.json", "b.json"):
        assert main(["load", "--url", server.url, *flags, "--seed", "3", "--output", name]) == 0
        requests = json.loads(Path(name).read_text(encoding="utf-8"))["requests"]
        dues.append([request["due"] - requests[0]["due"] for request in requests])
    assert dues[0] == pytest.approx(dues[1], abs=1e-5)
    assert len(dues[0]) > 1


def test_a_trace_is_replayed(start_mock: StartMock, capsys: pytest.CaptureFixture[str]) -> None:
    server = start_mock(FAST)
    lines = [{"timestamp": 10 + 0.2 * i, "prompt": f"prompt {i}", "max_tokens": i + 1} for i in range(4)]
    Path("trace.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    flags = ["--trace", "trace.jsonl", "--speed", "4", "--warmup", "2", "--output", "results.json"]
    assert main(["load", "--url", server.url, *flags]) == 0
    document = json.loads(Path("results.json").read_text(encoding="utf-8"))
    requests = document["requests"]
    assert document["strategy"] == {"kind": "trace", "speed": 4.0}
    assert [request["output_tokens"] for request in requests] == [1, 2, 3, 4]
    dues = [request["due"] - requests[0]["due"] for request in requests]
    assert dues == pytest.approx([0.0, 0.05, 0.1, 0.15], abs=1e-5)
    sent = [entry.body["messages"][0]["content"] for entry in server.log]
    assert sorted(sent[2:]) == [f"prompt {i}" for i in range(4)]
    assert "quantum" in sent[0], "the warm-up leaves the trace alone"
    assert "Replaying 4 requests" in capsys.readouterr().err


def test_a_trace_may_be_cut_and_not_mixed(start_mock: StartMock, capsys: pytest.CaptureFixture[str]) -> None:
    server = start_mock(FAST)
    text = "".join(json.dumps({"timestamp": i, "prompt": "x"}) + "\n" for i in range(100))
    Path("trace.jsonl").write_text(text, encoding="utf-8")
    flags = ["--url", server.url, "--trace", "trace.jsonl", "--speed", "100", "--duration", "0.05", "--quiet"]
    assert main(["load", *flags]) == 0
    assert "total_requests: 5\n" in capsys.readouterr().out
    assert main(["load", *flags, "--input-len", "5"]) == 2
    assert "brings its own requests" in capsys.readouterr().err


def test_conversations_go_on_in_an_open_loop(start_mock: StartMock) -> None:
    server = start_mock(FAST)
    flags = ["--duration", "0.1", "--rps", "30", "--workload", "conversations,turns=3,input=4,output=2,pause=1ms"]
    assert main(["load", "--url", server.url, *flags, "--output", "results.json", "--quiet"]) == 0
    document = json.loads(Path("results.json").read_text(encoding="utf-8"))
    turns = [(request["index"], request["turn"]) for request in document["requests"]]
    assert turns == [(index, turn) for index in range(3) for turn in range(3)]
    assert {len(entry.body["messages"]) for entry in server.log} == {1, 3, 5}
    assert max(request["due"] - request["sent"] for request in document["requests"]) < 0.001


def test_only_failures_exit_with_1_and_are_not_drawn(start_mock: StartMock, capsys: pytest.CaptureFixture[str]) -> None:
    server = start_mock(MockBehaviour(fail_every=1))
    assert main(["load", "--url", server.url, "--duration", "0.1", "--rps", "20", "--plot", "p.png", "--quiet"]) == 1
    out = capsys.readouterr().out
    assert "error: All requests failed" in out
    assert "Nothing to plot" in out
    assert not Path("p.png").exists()


def test_an_impossible_plot_is_refused_before_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["load", "--url", "http://127.0.0.1:1", "--plot", "absent/p.png"]) == 2
    assert "no folder absent" in capsys.readouterr().err
