from __future__ import annotations

import argparse
import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sgl_jax.bench.cli import build_parser, main


def test_it_serves_what_it_was_told_until_interrupted(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("sgl-jax-bench")), "serve-mock", "--port=0", "--ttft=1ms", "--itl=0"]
    log = tmp_path / "log.jsonl"
    with subprocess.Popen(
        [*command, "--tokens=7", "--model=fake", f"--log={log}"],
        stdout=subprocess.PIPE,
        text=True,
        # Who is started in a shell's background inherits that SIGINT is ignored, and would ignore it, too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            assert process.stdout is not None
            match = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert match is not None
            output = tmp_path / "results.json"
            assert main(["run", "--url", match[0], "--requests=3", "--quiet", f"--output={output}"]) == 0
            document = json.loads(output.read_text(encoding="utf-8"))
            assert document["provenance"]["server"]["model"] == "fake"
            assert document["summary"]["total_tokens_generated"] == 21
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    served = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [len(each["sent"]) for each in served] == [7, 7, 7]
    assert all(each["arrived"] <= each["sent"][0] for each in served)


def test_a_taken_port_is_one_line_and_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve-mock", "--port", str(port)]) == 2
    err = capsys.readouterr().err
    assert f"127.0.0.1:{port}" in err
    assert err.count("\n") == 1


def test_stalls_are_read_as_duration_at_time() -> None:
    args = build_parser().parse_args(["serve-mock", "--stall", "5s@10s", "--stall", "500ms@1"])
    assert [(freeze.start, freeze.duration) for freeze in args.stall] == [(10.0, 5.0), (1.0, 0.5)]


@pytest.mark.parametrize("text", ["5s", "@", "5s@soon"])
def test_other_stalls_are_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["serve-mock", "--stall", text])
    assert "--stall" in capsys.readouterr().err


def test_every_command_explains_itself() -> None:
    parser = build_parser()
    choices = next(a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    assert set(choices) == {"run", "load", "sweep", "compare", "report", "serve-mock"}
    for command in choices.values():
        assert all(action.help for action in command._actions)
