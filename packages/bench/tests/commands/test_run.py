"""`sgl-jax-bench run` against the mock server: rows, JSON, exit codes, and whether the numbers are true."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sgl_jax.bench.cli import main
from sgl_jax.bench.mock.behaviour import MockBehaviour
from sgl_jax.bench.mock.server import MockServer

StartMock = Callable[[MockBehaviour], MockServer]
FAST = MockBehaviour(ttft=0.002, itl=0.0005)
ROWS = [
    "Total Requests",
    "Successful Requests",
    "Failed Requests",
    "Success Rate",
    "Total Time",
    "Average Response Time",
    "Requests per Second",
    "Tokens per Second",
    "Total Tokens Generated",
]


def _rows(text: str) -> dict[str, str]:
    """Return the guide's rows in the order in which they were printed."""
    lines = text.split("=== Benchmark Results ===\n")[1].split("\n\n")[0].splitlines()
    return dict(line.split(": ", 1) for line in lines)


def _run(url: str, tmp_path: Path, *flags: str) -> tuple[int, Any]:
    output = tmp_path / "results.json"
    code = main(["run", "--url", url, "--output", str(output), "--quiet", *flags])
    return code, json.loads(output.read_text(encoding="utf-8"))


def test_the_guides_rows_are_all_that_comes_first(start_mock: StartMock, capsys: pytest.CaptureFixture[str]) -> None:
    server = start_mock(FAST)
    code = main(["run", "--url", server.url, "--concurrent", "3", "--requests", "10", "--max-tokens", "4"])
    out, err = capsys.readouterr()
    rows = _rows(out)
    assert code == 0
    assert out.lstrip().startswith("=== Benchmark Results ===")
    assert list(rows) == ROWS
    assert rows["Total Requests"] == rows["Successful Requests"] == "10"
    assert rows["Success Rate"] == "100.00%"
    assert rows["Total Tokens Generated"] == "40"
    assert all(name in out for name in ("TTFT", "ITL", "TPOT", "E2E", "p50", "p90", "p95", "p99", "p99.9"))
    assert "Starting benchmark with 10 requests, 3 concurrent, model mock" in err
    assert "10/10 requests" in err


def test_quiet_prints_the_report_alone(start_mock: StartMock, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--url", start_mock(FAST).url, "--requests", "2", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert "Total Requests: 2" in out
    assert err == ""


def test_what_is_reported_lies_between_what_the_mock_saw(start_mock: StartMock, tmp_path: Path) -> None:
    """The tester's clock and the mock's are the same, so order is proof and no bound on time is needed."""
    server = start_mock(MockBehaviour(ttft=0.03, itl=0.01))
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(f"prompt {i}" for i in range(6)), encoding="utf-8")
    flags = ("--requests", "6", "--concurrent", "2", "--max-tokens", "5", "--prompt-file", str(prompts))
    _, document = _run(server.url, tmp_path, *flags)
    served = {entry.body["messages"][0]["content"]: entry for entry in server.log}
    for request in document["requests"]:
        entry = served[f"prompt {request['index']}"]
        # What the tester saw from outside encloses what the mock did inside, and never undercuts the timetable.
        assert request["first_token"] - request["sent"] >= entry.sent[0] - entry.arrived >= 0.03
        assert request["end"] - request["sent"] >= entry.sent[-1] - entry.arrived >= 0.07
        assert len(request["gaps"]) == 4
        assert request["first_token"] + sum(request["gaps"]) <= request["end"] + 1e-5
        assert request["output_tokens"] == 5
    summary = document["summary"]
    assert summary["ttft"]["min"] >= 0.03
    assert summary["e2e"]["min"] >= 0.07
    assert summary["tokens_per_second"] == pytest.approx(30 / summary["total_time"])
    # Two at a time, each at least 70 ms: three rounds.
    assert summary["total_time"] >= 0.21


def test_tokens_come_from_usage_and_not_from_words(start_mock: StartMock, tmp_path: Path) -> None:
    server = start_mock(MockBehaviour(ttft=0.0, itl=0.0, tokens_per_chunk=4))
    code, document = _run(server.url, tmp_path, "--requests", "5", "--max-tokens", "10")
    assert code == 0
    assert document["summary"]["total_tokens_generated"] == 50
    assert document["summary"]["tokens_per_chunk"] == pytest.approx(10 / 3)
    assert all(len(request["gaps"]) == 2 for request in document["requests"])


def test_failures_are_counted_by_kind_and_make_the_exit_code(
    start_mock: StartMock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = start_mock(MockBehaviour(ttft=0.0, itl=0.0, fail_every=4, drop_every=5))
    code, document = _run(server.url, tmp_path, "--requests", "20", "--max-tokens", "6")
    assert code == 1
    summary = document["summary"]
    # Of 1 to 20, five are multiples of 4; of the four multiples of 5, the 20th failed before it could be dropped.
    assert summary["failures"] == {"http_500": 5, "stream": 3}
    assert (summary["successful_requests"], summary["failed_requests"]) == (12, 8)
    assert summary["success_rate"] == 60.0
    assert summary["total_tokens_generated"] == 72
    assert _rows(capsys.readouterr().out)["Failed Requests"] == "8"
    failed = [request for request in document["requests"] if request["failure"]]
    assert {request["failure"]["status"] for request in failed} == {500, None}


def test_an_answer_without_usage_is_noted(start_mock: StartMock, capsys: pytest.CaptureFixture[str]) -> None:
    server = start_mock(MockBehaviour(ttft=0.0, itl=0.0, usage=False))
    assert main(["run", "--url", server.url, "--requests", "3", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert _rows(out)["Total Tokens Generated"] == "0"
    assert "3 answers came without `usage`" in out


def test_a_request_that_takes_too_long_fails_as_a_timeout(start_mock: StartMock, tmp_path: Path) -> None:
    server = start_mock(MockBehaviour(ttft=3600.0))
    code, document = _run(server.url, tmp_path, "--requests", "2", "--timeout", "50ms")
    assert code == 1
    assert document["summary"]["failures"] == {"timeout": 2}


def test_the_prompt_file_is_cycled(start_mock: StartMock, tmp_path: Path) -> None:
    server = start_mock(FAST)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\nWhat is artificial intelligence?\n\n  Explain machine learning \n", encoding="utf-8")
    _, document = _run(server.url, tmp_path, "--prompt-file", str(prompts), "--requests", "5", "--concurrent", "1")
    sent = [entry.body["messages"] for entry in server.log]
    first, second = "What is artificial intelligence?", "Explain machine learning"
    assert sent == [[{"role": "user", "content": text}] for text in (first, second, first, second, first)]
    assert document["workload"] == "prompt file prompts.txt"


def test_flags_reach_the_server(start_mock: StartMock, tmp_path: Path) -> None:
    server = start_mock(FAST)
    flags = ("--model", "other", "--temperature", "0", "--seed", "7", "--ignore-eos", "--endpoint", "completions")
    _run(server.url, tmp_path, *flags, "--requests", "2", "--concurrent", "1", "--max-tokens", "3")
    first, second = (entry.body for entry in server.log)
    assert (first["seed"], second["seed"]) == (7, 8)
    assert first["model"] == "other"
    assert first["temperature"] == 0
    assert first["ignore_eos"] is True
    assert first["max_tokens"] == 3
    assert first["prompt"].startswith("Explain the concept")


def test_the_guides_temperature_is_the_default(start_mock: StartMock, tmp_path: Path) -> None:
    server = start_mock(FAST)
    _run(server.url, tmp_path, "--requests", "1")
    assert server.log[0].body["temperature"] == 0.7
    assert "seed" not in server.log[0].body


def test_warm_up_requests_are_sent_and_not_counted(start_mock: StartMock, tmp_path: Path) -> None:
    server = start_mock(FAST)
    _, document = _run(server.url, tmp_path, "--requests", "4", "--warmup", "3")
    assert len(server.log) == 7
    assert document["summary"]["total_requests"] == 4
    assert [request["index"] for request in document["requests"]] == [3, 4, 5, 6]


def test_the_results_file_tells_where_the_numbers_come_from(start_mock: StartMock, tmp_path: Path) -> None:
    server = start_mock(FAST)
    _, document = _run(server.url, tmp_path, "--requests", "1", "--api-key", "sk-very-secret", "--seed", "5")
    provenance = document["provenance"]
    assert document["schema"] == "sgl-jax-bench/1"
    assert document["strategy"] == {"kind": "concurrent", "streams": 10}
    assert document["started_at"].endswith("+00:00")
    assert provenance["command"] == "run"
    assert provenance["flags"]["seed"] == 5
    assert provenance["flags"]["temperature"] == 0.7
    assert provenance["server"]["model"] == "mock"
    assert provenance["server"]["info"]["server"] == "sgl-jax-bench serve-mock"
    assert {"versions", "python", "machine", "git"} <= provenance.keys()
    assert "sk-very-secret" not in json.dumps(document)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--prompt-file", "absent.txt"], "cannot read prompt file absent.txt"),
        (["--output", "absent/results.json"], "no folder absent"),
        (["--output", "results.xls"], "results.xls: end its name in one of .json"),
        (["--url", "ftp://localhost:1"], "http://"),
        (["--prompt-file", "a", "--input-len", "5"], "keep one"),
        (["--input-len", "many"], "'many' is no length"),
        (["--workload", "poems"], "there is no kind 'poems'"),
        # Port 1 is privileged and, outside of very old Unixes, nobody listens there.
        (["--url", "http://127.0.0.1:1"], "cannot reach a server at http://127.0.0.1:1"),
    ],
)
def test_what_cannot_be_measured_is_one_line_and_exit_2(
    flags: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", *flags]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.startswith("sgl-jax-bench: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "flags",
    [
        ["--requests", "0"],
        ["--concurrent", "x"],
        ["--temperature", "-1"],
        ["--temperature", "nan"],
        ["--timeout", "soon"],
        ["--slo", "ttft"],
        ["--nope"],
    ],
)
def test_wrong_flags_exit_with_2(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", *flags])
    assert stop.value.code == 2
    assert flags[0] in capsys.readouterr().err


def test_the_installed_command_does_the_same(start_mock: StartMock, tmp_path: Path) -> None:
    server = start_mock(FAST)
    command = Path(sys.executable).with_name("sgl-jax-bench")
    done = subprocess.run(
        [command, "run", "--url", server.url, "--requests=5", "--max-tokens=4", "--output=results.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(_rows(done.stdout)) == ROWS
    assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["summary"]["successful_requests"] == 5
    assert "\x1b" not in done.stdout + done.stderr


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from sgl_jax.bench.cli import build_parser; build_parser().format_help();"
        "heavy = {'pandas', 'numpy', 'matplotlib', 'rich', 'httpx', 'pydantic', 'asyncio', 'jax'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
