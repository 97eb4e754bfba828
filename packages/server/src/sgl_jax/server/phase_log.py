"""How far an engine has come, as lines of the log."""

from __future__ import annotations

import logging
import time

from sgl_jax.engine.messages import Phase

logger = logging.getLogger("sgl_jax.server.launch")

PROGRESS_SECONDS = 3.0


class PhaseLog:
    """Logs changes of phase, and progress within one every few seconds."""

    def __init__(self) -> None:
        self._name = ""
        self._logged_at = 0.0

    def __call__(self, phase: Phase) -> None:
        """Hears of every phase."""
        now = time.monotonic()
        news = phase.name != self._name or phase.done == phase.total or now - self._logged_at > PROGRESS_SECONDS
        if news and phase.name != "dead":
            logger.info("engine: %s", phase)
            self._name, self._logged_at = phase.name, now
