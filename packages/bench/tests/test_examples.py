"""The examples run: the test file as a test, and the commands of the workflow as far as they are ours."""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from sgl_jax.bench.cli import build_parser
from sgl_jax.bench.mock.behaviour import MockBehaviour
from sgl_jax.bench.mock.server import MockServer

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_the_pytest_example_passes_and_keeps_a_baseline(
    start_mock: Callable[[MockBehaviour], MockServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SGL_JAX_BASE_URL", start_mock(MockBehaviour(ttft=0.002, itl=0.0)).url)
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("pytest_example", EXAMPLES / "pytest_example.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    results = [example.measure(seed) for seed in range(2)]
    example.test_objectives_are_kept(results)
    with pytest.raises(pytest.skip.Exception, match="kept as one"):
        example.test_nothing_got_slower(results)
    example.test_nothing_got_slower(results)


def test_the_workflow_uses_flags_that_exist() -> None:
    text = (EXAMPLES / "github-actions.yml").read_text(encoding="utf-8").replace("\\\n", " ")
    commands = [line[line.index("sgl-jax-bench ") :] for line in text.splitlines() if "sgl-jax-bench " in line]
    assert {shlex.split(command)[1] for command in commands} == {"run", "compare", "report"}
    for command in commands:
        build_parser().parse_args(shlex.split(command.replace("$round", "1"))[1:])
