"""A recording of the device is written where it says, and mistakes are told."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import pytest

from sgl_jax.engine.errors import ProfileError
from sgl_jax.engine.execution.profile import Profiler


def test_a_recording(tmp_path: Path) -> None:
    profiler = Profiler(tmp_path)
    with pytest.raises(ProfileError, match="start one first"):
        profiler.stop()
    folder = profiler.start()
    with pytest.raises(ProfileError, match="stop it first"):
        profiler.start()
    jnp.arange(5).sum().block_until_ready()
    assert profiler.stop() == folder
    assert list(Path(folder).rglob("*.xplane.pb"))


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProfileError, match="No profile can be recorded"):
        Profiler(tmp_path / "file").start()
