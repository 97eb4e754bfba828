"""Single-turn prompts, repeated for as long as requests are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

from sgl_jax.bench.errors import WorkloadError
from sgl_jax.bench.workload.base import Message, RequestSpec


class PromptCycle:
    """A workload that sends each prompt in turn and then starts again.

    Raises:
        WorkloadError: there is no prompt to send.
    """

    def __init__(self, name: str, prompts: Sequence[str], max_tokens: int) -> None:
        if not prompts:
            raise WorkloadError(f"{name} holds no prompt: write at least one non-blank line")
        self._name = name
        self._prompts = tuple(prompts)
        self._max_tokens = max_tokens

    @property
    def name(self) -> str:
        """A short name for reports and results files."""
        return self._name

    @property
    def prompts(self) -> tuple[str, ...]:
        """The distinct prompts, in the order in which they are sent."""
        return self._prompts

    def requests(self) -> Iterator[RequestSpec]:
        """Return a fresh endless iterator over the prompts."""
        for index in count():
            prompt = self._prompts[index % len(self._prompts)]
            yield RequestSpec(index, (Message("user", prompt),), self._max_tokens)
