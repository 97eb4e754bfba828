"""The command itself: `sgl-jax doctor [flags of serve]`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from typing import TextIO

import msgspec
from rich.console import Console
from rich.text import Text

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.errors import ConfigError
from sgl_jax.engine.execution import device_env
from sgl_jax.engine.execution.xla_options import program_options
from sgl_jax.server.command_line import parse_launch
from sgl_jax.server.config import LaunchConfig
from sgl_jax.server.doctor.devices import check_devices
from sgl_jax.server.doctor.finding import Finding, Grade
from sgl_jax.server.doctor.folders import check_folders
from sgl_jax.server.doctor.machine import check_machine
from sgl_jax.server.doctor.model import check_model, check_port
from sgl_jax.server.doctor.versions import check_versions

USAGE = """\
usage: sgl-jax doctor [--json | --xla-flags] [flags of sgl-jax serve]

Looks at this machine as the server would with the same flags. Exit code 1 if something keeps it from working.

  --json       one JSON object for each finding
  --xla-flags  only the environment that the engine sets for JAX, as lines for a shell
"""
_MARKS: dict[Grade, tuple[str, str]] = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failure": ("✗", "bold red")}


def doctor(arguments: Sequence[str], output: TextIO | None = None) -> int:
    """Runs the command; returns its exit code.

    Raises:
        ConfigError: for an unknown flag, or one with a value that cannot work.
    """
    output = output or sys.stdout
    given = list(arguments)
    if {"-h", "--help"} & set(given):
        output.write(USAGE)
        return 0
    own = {flag for flag in ("--json", "--xla-flags") if flag in given}
    rest = [word for word in given if word not in own]
    config, missing = _parse(rest)
    if "--xla-flags" in own:
        output.writelines(_xla_lines(config.engine))
        return 0
    findings = chain(missing, _findings(config))
    grades = (_write_json if "--json" in own else _write)(findings, output)
    return 1 if "failure" in grades else 0


def _xla_lines(config: EngineConfig) -> Iterator[str]:
    for name, value in chosen_environment(config):
        yield f"export {name}={shlex.quote(value)}\n"
    if config.device.startswith(("auto", "cuda")):
        # Not exported: a flag that some version does not know would end the process, an option is left out.
        for name, option in program_options("cuda", config.tp_size).items():
            yield f"# with each program on a GPU: --{name}={str(option).lower()}\n"


def chosen_environment(config: EngineConfig) -> list[tuple[str, str]]:
    """What the engine process sets before it loads JAX, beside what is set already."""
    environ = dict(os.environ)
    device_env.apply(config, environ)
    return sorted((name, value) for name, value in environ.items() if os.environ.get(name) != value)


def _parse(arguments: Sequence[str]) -> tuple[LaunchConfig, list[Finding]]:
    try:
        return parse_launch(arguments, "sgl-jax doctor"), []
    except ConfigError as error:
        if any(word.startswith(("--model", "--config")) for word in arguments):
            raise
        # No model was named, and there is none to try with: the rest can be looked at.
        config = parse_launch([*arguments, "--model-path=."], "sgl-jax doctor")
        return config, [Finding(topic="this command line", name="model", value=str(error), grade="warning")]


def _findings(config: LaunchConfig) -> Iterator[Finding]:
    has_model = config.engine.model_path != "."
    return chain(
        check_model(config.engine) if has_model else (),
        check_port(config.server),
        check_versions(),
        check_machine(),
        check_devices(config.engine.device),
        _environment(config.engine),
        check_folders(os.environ, config.engine.download_dir),
    )


def _environment(config: EngineConfig) -> Iterator[Finding]:
    for name, value in chosen_environment(config):
        yield Finding(topic="set for JAX", name=name, value=value)
    for name in sorted(os.environ):
        if name.startswith(("JAX_", "XLA_", "SGL_JAX_CACHE", "CUDA_VISIBLE")):
            yield Finding(topic="set already", name=name, value=os.environ[name])


def _write(findings: Iterator[Finding], output: TextIO) -> list[Grade]:
    console = Console(file=output, soft_wrap=True, highlight=False)
    grades: list[Grade] = []
    # Written as they are found: JAX takes seconds to start.
    for topic, group in groupby(findings, key=lambda finding: finding.topic):
        console.print(Text(f"\n{topic}", style="bold"))
        for finding in group:
            mark, style = _MARKS[finding.grade]
            console.print(Text.assemble((f"  {mark} ", style), (finding.name, "cyan"), f"  {finding.value}"))
            if finding.advice is not None:
                console.print(Text(f"    → {finding.advice}", style=style))
            grades.append(finding.grade)
    counts = {grade: grades.count(grade) for grade in _MARKS}
    console.print(f"\n{counts['ok']} fine, {counts['warning']} to look at, {counts['failure']} to repair")
    return grades


def _write_json(findings: Iterator[Finding], output: TextIO) -> list[Grade]:
    grades: list[Grade] = []
    for finding in findings:
        output.write(msgspec.json.encode(finding).decode() + "\n")
        grades.append(finding.grade)
    return grades
