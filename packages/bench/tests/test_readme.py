"""The README's commands and programs run as they stand, and the guide's commands are all taken."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sgl_jax.bench.cli import build_parser, main
from sgl_jax.bench.mock.behaviour import MockBehaviour
from sgl_jax.bench.mock.server import MockServer

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


LINES = [line for block in _blocks("bash") for line in block.splitlines()]


def _run(line: str, folder: Path) -> None:
    """Run a line as a shell would, our own command without the second that a process takes to start."""
    words = shlex.split(line)
    if words[0] == "sgl-jax-bench":
        assert main(words[1:]) == 0, line
    else:
        command = ["bash", "-euc", line.replace("python ", f"{shlex.quote(sys.executable)} ", 1)]
        subprocess.run(command, cwd=folder, timeout=120, check=True)


def test_the_code_blocks_run(
    start_mock: Callable[[MockBehaviour], MockServer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    server = start_mock(MockBehaviour(ttft=0.001, itl=0.0, tokens=4))  # few tokens: the commands count here
    monkeypatch.setenv("SGL_JAX_BASE_URL", server.url)
    monkeypatch.chdir(tmp_path)
    for line in LINES:
        _run(line, tmp_path)
    for program in _blocks("python"):
        exec(compile(program, "README.md", "exec"), {})
    out = capfd.readouterr().out
    assert "Total Requests: 100" in out
    assert "Total Requests: 50" in out
    assert "'p99'" in out
    written = {file.name for file in tmp_path.iterdir()}
    assert {"results.json", "report.html", "requests.csv", "load.json", "load_test_results.png"} <= written
    assert {"sweep.json", "sweep_results.png", "junit.xml", "today.json"} <= written


def test_the_report_that_is_shown_has_the_rows_that_are_printed() -> None:
    shown = _blocks("text")[0]
    names = re.findall(r"^([A-Z][^:(=]*):", shown, flags=re.MULTILINE)
    assert names[0] == "Total Requests"
    assert names[-1] == "Total Tokens Generated"
    assert len(names) == 9


COMMANDS = re.findall(r"\| `(sgl-jax-bench [^`]*)`", README) + [
    line for block in _blocks("console") for line in block.splitlines() if line.startswith("sgl-jax-bench")
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_other_command_is_understood(command: str) -> None:
    build_parser().parse_args(shlex.split(command)[1:])


def test_the_guides_commands_are_among_them() -> None:
    assert len([command for command in COMMANDS if " run " in command or " load " in command]) == 4


def test_every_flag_that_is_named_is_one() -> None:
    parser = build_parser()
    helps = parser.format_help() + "".join(
        command.format_help()
        for action in parser._actions
        if isinstance(action.choices, dict)
        for command in action.choices.values()
    )
    known = set(re.findall(r"--[a-z][a-z-]+", helps))
    assert set(re.findall(r"`(--[a-z][a-z-]+)", README)) <= known
