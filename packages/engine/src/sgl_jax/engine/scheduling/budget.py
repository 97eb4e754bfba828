"""How much one step may compute."""

from __future__ import annotations

from sgl_jax.engine.plan import StepLimits


class Budget:
    """What is left of a step while it is being planned.

    Several tokens are cut into chunks of at least two. A token by itself is computed like a drawn one, which rounds
    less than a prompt does (on CPU, ADR 40); where a prompt is cut depends on who else is there, and what it gets
    must not.

    Args:
        limits: of a step.
        max_slots: requests that run at once. Where their single tokens might leave fewer than three places, or chunks
            are shorter than that, a prompt that waited for two might wait for ever, and is cut anywhere.
    """

    __slots__ = ("_cuts_anywhere", "_max_chunk", "remaining")

    def __init__(self, limits: StepLimits, max_slots: int) -> None:
        self.remaining = limits.max_tokens
        self._max_chunk = limits.max_chunk
        self._cuts_anywhere = min(limits.max_chunk, limits.max_tokens - max_slots + 1) < 3

    def grant(self, wanted: int) -> int:
        """How many of the wanted tokens a request may compute now (0 when the step is full)."""
        most = min(self._max_chunk, self.remaining)
        if wanted <= most or self._cuts_anywhere:
            return min(wanted, most)
        count = most - (wanted - most == 1)
        return count if count > 1 else 0

    def spend(self, tokens: int) -> None:
        """Books tokens that were granted and planned."""
        self.remaining -= tokens
