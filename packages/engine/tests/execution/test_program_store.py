"""Programs kept on disk: a second engine traces nothing, and nothing stale or damaged is ever run."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgl_jax.engine.execution import program_store
from sgl_jax.engine.execution.program_store import ProgramStore, own_folder

DEVICE = jax.devices("cpu")[0]
X = np.arange(6, dtype=np.float32)


class Doubling:
    """A function that knows how often it was traced."""

    def __init__(self, factor: float = 2.0) -> None:
        self.factor = factor
        self.traced = 0

    def __call__(self, x: jax.Array, total: jax.Array) -> tuple[jax.Array, jax.Array]:
        self.traced += 1
        return x * self.factor, total + x.sum()


def run(store: ProgramStore, function: Doubling, name: str = "double", x: np.ndarray = X) -> np.ndarray:
    total = jnp.zeros((), jnp.float32)
    program = store.compile(name, function, jnp.asarray(x), total, donate=(1,))
    doubled, total = program(jnp.asarray(x), total)
    assert float(total) == x.sum()
    return np.asarray(doubled)


@pytest.fixture(autouse=True)
def jax_keeps_nothing() -> Iterator[None]:
    """In its own cache, which all tests share."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before = jax.config.values[name]
    jax.config.update(name, 1e9)
    yield
    jax.config.update(name, before)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A folder in which a first process left its program."""
    function = Doubling()
    np.testing.assert_array_equal(run(ProgramStore("model", [DEVICE], tmp_path), function), X * 2)
    assert function.traced == 1
    return tmp_path


def test_a_second_start_traces_nothing(first: Path) -> None:
    function, store = Doubling(), ProgramStore("model", [DEVICE], first)
    np.testing.assert_array_equal(run(store, function), X * 2)
    assert function.traced == 0
    assert store.hits == 1


def test_donated_arguments_are_still_donated(first: Path) -> None:
    total = jnp.zeros((), jnp.float32)
    program = ProgramStore("model", [DEVICE], first).compile("double", Doubling(), jnp.asarray(X), total, donate=(1,))
    program(jnp.asarray(X), total)
    assert total.is_deleted()


@pytest.mark.parametrize("change", ["model", "name", "shape", "dtype", "flags"])
def test_another_program_is_compiled(first: Path, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if change == "flags":
        monkeypatch.setenv("XLA_FLAGS", os.environ["XLA_FLAGS"] + " --xla_cpu_enable_fast_math=false")
    store = ProgramStore("other" if change == "model" else "model", [DEVICE], first)
    x = {"shape": X[:3], "dtype": X.astype(np.float16)}.get(change, X)
    function = Doubling(3.0)
    np.testing.assert_array_equal(run(store, function, "triple" if change == "name" else "double", x), x * 3)
    assert function.traced == 1


@pytest.mark.parametrize(
    "damage", [lambda stored: stored[:-7], lambda stored: b"", lambda stored: stored[:40] + b"x" * 99]
)
def test_a_damaged_program_is_compiled_again(first: Path, damage, caplog: pytest.LogCaptureFixture) -> None:
    for path in first.iterdir():
        path.write_bytes(damage(path.read_bytes()))
    function = Doubling()
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(run(ProgramStore("model", [DEVICE], first), function), X * 2)
    assert function.traced == 1
    assert "damaged" in caplog.text
    run(ProgramStore("model", [DEVICE], first), repaired := Doubling())
    assert repaired.traced == 0


def test_a_changed_source_is_traced_but_not_compiled(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_store, "_source_digest", lambda: "edited")
    for traced in (1, 0):
        function, store = Doubling(), ProgramStore("model", [DEVICE], first)
        np.testing.assert_array_equal(run(store, function), X * 2)
        assert function.traced == traced
        assert store.hits == 1


def test_programs_that_differ_in_what_they_ignore_are_two(tmp_path: Path) -> None:
    for ignored in (X[:2], X[:3], (X, X)):
        given = jax.tree.map(jnp.asarray, (X, ignored))
        program = ProgramStore("model", [DEVICE], tmp_path).compile("name", lambda x, ignored: x + 1, *given)
        np.testing.assert_array_equal(program(*given), X + 1)


def test_what_jax_itself_found_in_its_cache_is_not_stored(tmp_path: Path) -> None:
    """XLA:CPU writes such programs without their functions: a third start would fail when it runs them."""
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    found = []
    for folder in ("first", "second", "second"):
        (tmp_path / folder).mkdir(exist_ok=True)
        store = ProgramStore("model", [DEVICE], tmp_path / folder)
        run(store, function := Doubling(), x=np.ones(11, np.float32))
        found.append((store.hits, function.traced))
    assert found == [(0, 1), (1, 1), (1, 1)]


def test_without_a_folder_everything_is_compiled() -> None:
    for _ in range(2):
        function = Doubling()
        run(ProgramStore("model", [DEVICE], None), function)
        assert function.traced == 1


def test_a_folder_that_cannot_be_written_to_is_no_harm(tmp_path: Path) -> None:
    function = Doubling()
    np.testing.assert_array_equal(run(ProgramStore("model", [DEVICE], tmp_path / "gone"), function), X * 2)


def test_only_a_folder_of_ones_own_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mine = own_folder(tmp_path / "new" / "steps")
    assert mine is not None
    assert mine.stat().st_mode & 0o077 == 0
    mine.chmod(0o777)
    with caplog.at_level(logging.WARNING):
        assert own_folder(mine) is None
    assert "others may write" in caplog.text
