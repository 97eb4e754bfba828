"""Compiling the sources: once, safely by several processes, and what happens where it cannot be done."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.cpu_kernels import build, library
from sgl_jax.engine.cpu_kernels.compiler import Compiler, find_compiler
from sgl_jax.engine.errors import ConfigError
from sgl_jax.engine.execution import kernels as kernels_module

ONE = 'extern "C" int answer() { return 42; }\n'
BUILD = """
import pathlib, sys
from sgl_jax.engine.cpu_kernels import build
from sgl_jax.engine.cpu_kernels.compiler import find_compiler
build.SOURCES = pathlib.Path(sys.argv[1])
build.build(pathlib.Path(sys.argv[2]), find_compiler(), pathlib.Path(sys.argv[1]))
"""


@pytest.fixture
def compiler():
    found = find_compiler()
    if found is None:
        pytest.skip("no C++ compiler on this machine")
    return found


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A folder of sources that takes no time to compile."""
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "one.cc").write_text(ONE)
    monkeypatch.setattr(build, "SOURCES", folder)
    return folder


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_what_is_built_can_be_called(sources, compiler, tmp_path):
    made = tmp_path / "cache" / "made.so"
    build.build(made, compiler, tmp_path)
    assert ctypes.CDLL(str(made)).answer() == 42
    assert {path.name for path in made.parent.iterdir()} == {"made.so", ".lock"}


def test_two_processes_may_build_at_the_same_time(sources, compiler, tmp_path):
    made = tmp_path / "cache" / "made.so"
    command = [sys.executable, "-c", BUILD, str(sources), str(made)]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert ctypes.CDLL(str(made)).answer() == 42
    assert {path.name for path in made.parent.iterdir()} == {"made.so", ".lock"}


def test_a_library_is_named_after_all_that_it_is_made_of(sources, tmp_path):
    one = Compiler(("c++",), "c++ 12")

    def name(compiler=one, flags=()):
        return build.library_path(tmp_path, compiler, tmp_path, flags).name

    first = name()
    assert name() == first
    others = {name(Compiler(("c++",), "c++ 13")), name(Compiler(("g++",), "c++ 12")), name(flags=("-g",))}
    (sources / "one.cc").write_text(ONE.replace("42", "43"))
    others.add(name())
    (sources / "more.h").write_text("")
    others.add(name())
    headers = tmp_path / "xla" / "ffi" / "api"
    headers.mkdir(parents=True)
    (headers / "c_api.h").write_text("// another version")
    others.add(name())
    assert len(others) == 6
    assert first not in others


def test_only_x86_gets_files_with_its_instructions():
    arm = {path.name for path in build.sources("aarch64")}
    assert {"threads.cc", "matmul_portable.cc"} <= arm
    assert not any("avx" in name for name in arm)
    assert {path.name for path in build.sources("x86_64")} > arm


def test_a_library_that_is_there_is_not_built_again(kernels, monkeypatch):
    monkeypatch.setattr(library, "build", lambda *_: pytest.fail("it was there already"))
    assert library._load(kernels.path.parent).path == kernels.path


def test_a_complaint_of_the_compiler_is_told(sources, compiler, tmp_path):
    (sources / "two.cc").write_text("int answer() { return nothing; }\n")
    with pytest.raises(build.BuildError, match="nothing"):
        build.build(tmp_path / "made.so", compiler, tmp_path)
    assert not list(tmp_path.glob("*.so"))


@pytest.mark.parametrize(
    ("script_text", "reason"),
    [
        ("exit 1", "no C\\+\\+ compiler"),
        ('[ "$1" = --version ] && echo c++ 1 || { echo "error: no"; exit 1; }', "exit code 1"),
    ],
    ids=["none", "fails"],
)
def test_without_a_compiler_plain_xla_serves(monkeypatch, tmp_path, caplog, script_text, reason):
    monkeypatch.setenv("CXX", script(tmp_path / "cxx", script_text))
    monkeypatch.setenv("SGL_JAX_KERNELS_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(library, "_loaded", None)
    device = jax.devices("cpu")[0]
    caplog.set_level("WARNING", logger=kernels_module.__name__)
    assert kernels_module.find_kernels(EngineConfig(model_path="m", cpu_kernels="auto"), device) is None
    assert "plain XLA" in caplog.text
    with pytest.raises(ConfigError, match=f"--cpu-kernels=native: .*{reason}"):
        kernels_module.find_kernels(EngineConfig(model_path="m", cpu_kernels="native"), device)


def test_xla_builds_nothing(monkeypatch):
    monkeypatch.setattr(library, "load", lambda *_: pytest.fail("nobody asked for kernels"))
    config = EngineConfig(model_path="m", cpu_kernels="xla")
    assert kernels_module.find_kernels(config, jax.devices("cpu")[0]) is None
