"""Recordings of what the device does, for TensorBoard, XProf or Perfetto."""

from __future__ import annotations

import time
from pathlib import Path

import jax

from sgl_jax.engine.errors import ProfileError


class Profiler:
    """At most one recording at a time, as JAX has it.

    Args:
        folder: gets a folder for each recording.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._current: Path | None = None

    def start(self) -> str:
        """Begins a recording; returns its folder.

        Raises:
            ProfileError: one is under way, or the folder cannot be written.
        """
        if self._current is not None:
            raise ProfileError(f"A profile is being recorded to {self._current}; stop it first.")
        folder = self._folder / time.strftime("%Y%m%d-%H%M%S")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            jax.profiler.start_trace(folder)
        except (OSError, RuntimeError) as error:
            raise ProfileError(f"No profile can be recorded: {error}") from error
        self._current = folder
        return str(folder)

    def stop(self) -> str:
        """Ends and writes the recording; returns its folder.

        Raises:
            ProfileError: there is none, or it could not be written.
        """
        if self._current is None:
            raise ProfileError("No profile is being recorded; start one first.")
        folder, self._current = self._current, None
        try:
            jax.profiler.stop_trace()
        except (OSError, RuntimeError) as error:
            raise ProfileError(f"The profile could not be written: {error}") from error
        return str(folder)
