"""The README's commands run as they stand, and the guide's commands are all taken."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sgl_jax.bench.cli import build_parser
from sgl_jax.bench.mock.behaviour import MockBehaviour
from sgl_jax.bench.mock.server import MockServer

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_the_code_blocks_run(start_mock: Callable[[MockBehaviour], MockServer], tmp_path: Path) -> None:
    server = start_mock(MockBehaviour(ttft=0.001, itl=0.0, tokens=4))  # few tokens: the commands count here
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    script = "\n".join(["set -eu", *_blocks("bash")])
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "SGL_JAX_BASE_URL": server.url, "PATH": path},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Total Requests: 100" in done.stdout
    assert "Total Requests: 50" in done.stdout
    assert "'p99'" in done.stdout
    assert {"results.json", "load.json", "load_test_results.png"} <= {file.name for file in tmp_path.iterdir()}


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
