"""How much one step may compute."""

from __future__ import annotations

from sgl_jax.engine.plan import StepLimits


class Budget:
    """What is left of a step while it is being planned."""

    __slots__ = ("_max_chunk", "remaining")

    def __init__(self, limits: StepLimits) -> None:
        self.remaining = limits.max_tokens
        self._max_chunk = limits.max_chunk

    def grant(self, wanted: int) -> int:
        """How many of the wanted tokens a request may compute now (0 when the step is full)."""
        return min(wanted, self._max_chunk, self.remaining)

    def spend(self, tokens: int) -> None:
        """Books tokens that were granted and planned."""
        self.remaining -= tokens
