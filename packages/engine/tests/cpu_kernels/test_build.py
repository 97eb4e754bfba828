"""Compiling the sources: once, safely by several processes, and what happens where it cannot be done."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.cpu_kernels import build, library, variants
from sgl_jax.engine.cpu_kernels.compiler import Compiler, find_compiler
from sgl_jax.engine.errors import ConfigError
from sgl_jax.engine.execution import kernels as kernels_module

ONE = 'extern "C" int answer() { return 42; }\n'
BUILD = """
import pathlib, sys
from sgl_jax.engine.cpu_kernels import build
from sgl_jax.engine.cpu_kernels.compiler import find_compiler
build.SOURCES = pathlib.Path(sys.argv[1])
build.build(pathlib.Path(sys.argv[2]), build.Recipe(find_compiler(), pathlib.Path(sys.argv[1]), ()))
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
    build.build(made, build.Recipe(compiler, tmp_path, ()))
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

    def name(compiler=one, flags=(), has=()):
        return build.library_path(tmp_path, build.Recipe(compiler, tmp_path, has, flags)).name

    first = name()
    assert name() == first
    others = {name(Compiler(("c++",), "c++ 13")), name(Compiler(("g++",), "c++ 12")), name(flags=("-g",))}
    others.add(name(has=variants.ALL))
    (sources / "one.cc").write_text(ONE.replace("42", "43"))
    others.add(name())
    (sources / "more.h").write_text("")
    others.add(name())
    headers = tmp_path / "xla" / "ffi" / "api"
    headers.mkdir(parents=True)
    (headers / "c_api.h").write_text("// another version")
    others.add(name())
    assert len(others) == 7
    assert first not in others


def test_only_x86_gets_files_with_its_instructions():
    arm = {path.name for path in build.sources(variants.all_variants("aarch64"))}
    assert {"threads.cc", "matmul_portable.cc"} <= arm
    assert not any("avx" in name for name in arm)
    assert {path.name for path in build.sources(variants.all_variants("x86_64"))} > arm


LAPTOP = "fpu sse2 avx avx2 fma f16c"
SERVER = f"{LAPTOP} avx512f avx512bw avx512dq avx512vl avx512_vnni"


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        ("fpu sse2 avx", ()),
        (LAPTOP, (variants.AVX2,)),
        (SERVER, (variants.AVX512,)),
        (f"{SERVER} avx512_bf16", (variants.AVX512, variants.AVX512_BF16)),
        (f"{SERVER} avx512_bf16 amx_tile amx_bf16", (variants.AVX512, variants.AVX512_BF16)),
        (f"{SERVER} avx512_bf16 amx_tile amx_bf16 amx_int8", (variants.AVX512, variants.AMX)),
        (f"{LAPTOP} avx512f", (variants.AVX2,)),
        (None, variants.ALL),
    ],
    ids=["old", "laptop", "server", "bf16", "amx-half", "amx", "half", "unknown"],
)
def test_a_machine_gets_the_files_that_it_can_use(tmp_path, flags, has):
    cpuinfo = tmp_path / "cpuinfo"
    if flags is not None:
        cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    assert variants.own_variants(variants.ALL, variants.processor_features(cpuinfo)) == has


def test_what_an_old_compiler_does_not_know_is_left_out(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(variants, "all_variants", lambda: variants.ALL)
    old = script(tmp_path / "old", """case "$*" in *-mamx*|*bf16*) exit 1;; esac; echo 'c++ 9'""")
    monkeypatch.setattr(library, "find_compiler", lambda: Compiler((old,), "c++ 9"))
    monkeypatch.setenv("SGL_JAX_KERNELS_FOR", "all")
    assert library.find(tmp_path)[1].variants == (variants.AVX2, variants.AVX512)


def test_a_library_for_all_machines_is_used_where_there_is_one(sources, compiler, tmp_path, monkeypatch):
    monkeypatch.delenv("SGL_JAX_KERNELS_FOR", raising=False)
    monkeypatch.setattr(variants, "all_variants", lambda: (variants.AVX2, variants.AVX512))
    monkeypatch.setattr(variants, "own_variants", lambda *_: (variants.AVX2,))
    own, _ = library.find(tmp_path)
    monkeypatch.setenv("SGL_JAX_KERNELS_FOR", "all")
    whole, _ = library.find(tmp_path)
    assert whole != own
    whole.write_bytes(b"")
    monkeypatch.delenv("SGL_JAX_KERNELS_FOR")
    assert library.find(tmp_path)[0] == whole
    monkeypatch.setenv("SGL_JAX_KERNELS_FOR", "machine")
    assert library.find(tmp_path)[0] == own


def test_a_library_that_is_there_is_not_built_again(kernels, monkeypatch):
    monkeypatch.setattr(library, "build", lambda *_: pytest.fail("it was there already"))
    assert library._load(kernels.path.parent).path == kernels.path


def test_a_library_that_others_could_have_left_is_not_loaded(sources, compiler, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    made, recipe = library.find(folder)
    build.build(made, recipe)
    assert folder.stat().st_mode & 0o077 == 0
    monkeypatch.setattr(library.ctypes, "CDLL", lambda _: pytest.fail("loaded"))
    for mode in (0o770, 0o707):
        folder.chmod(mode)
        with pytest.raises(library.Unavailable, match="chmod go-w"):
            library._load(folder)


def test_a_complaint_of_the_compiler_is_told(sources, compiler, tmp_path):
    (sources / "two.cc").write_text("int answer() { return nothing; }\n")
    with pytest.raises(build.BuildError, match="nothing"):
        build.build(tmp_path / "made.so", build.Recipe(compiler, tmp_path, ()))
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
