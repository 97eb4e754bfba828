"""The C++ compiler of this machine. No jax here."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

CANDIDATES = ("c++", "g++", "clang++")
_SECONDS = 60


class Compiler(NamedTuple):
    """A program that compiles C++.

    Attributes:
        command: how to start it.
        version: the first line of what it says about itself; another one may make other code of the same source.
    """

    command: tuple[str, ...]
    version: str


def find_compiler(environ: Mapping[str, str] = os.environ) -> Compiler | None:
    """`$CXX`, else what the system has, else the one in the package `ziglang` (extra `[cpu-compiler]`).

    A `$CXX` that does not work is not replaced by another one: None.
    """
    for command in _commands(environ):
        version = _version(command)
        if version is not None:
            return Compiler(command, version)
    return None


def understands(compiler: Compiler, flags: Sequence[str]) -> bool:
    """Whether the compiler takes these flags: an old one does not know new instructions."""
    command = [*compiler.command, *flags, "-fsyntax-only", "-x", "c++", os.devnull]
    try:
        return subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _commands(environ: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    if environ.get("CXX"):
        yield tuple(shlex.split(environ["CXX"]))
        return
    for name in CANDIDATES:
        found = shutil.which(name, path=environ.get("PATH"))
        if found is not None:
            yield (found,)
    if importlib.util.find_spec("ziglang") is not None:
        # Unless told otherwise it compiles for this very processor.
        yield (sys.executable, "-m", "ziglang", "c++", "-mcpu=baseline")


def _version(command: tuple[str, ...]) -> str | None:
    """None where the command cannot be started, or is no compiler."""
    try:
        said = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = said.stdout.splitlines()
    return lines[0].strip() if said.returncode == 0 and lines else None
