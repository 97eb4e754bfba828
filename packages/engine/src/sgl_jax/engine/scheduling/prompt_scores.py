"""Log-probabilities of a request's prompt, gathered chunk by chunk as the prompt is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sgl_jax.engine.messages import GenerateRequest, TokenLogprobs
from sgl_jax.engine.plan import PromptLogprobs, SlotPlan


@dataclass(slots=True)
class PromptScores:
    """What one request wants to know of its prompt, and what is known so far.

    Attributes:
        num_top: how many likeliest tokens each entry lists.
        num_chosen: how many chosen tokens.
        first: position of the first prompt token that gets an entry; at least 1, for nothing precedes token 0.
        num_prompt: length of the prompt.
        entries: for the tokens from `first` on, in order.
    """

    num_top: int
    num_chosen: int
    first: int
    num_prompt: int
    entries: list[TokenLogprobs] = field(default_factory=list)

    @classmethod
    def of(cls, message: GenerateRequest) -> PromptScores | None:
        """What a request wants to know; None when it does not ask."""
        sampling = message.sampling
        if sampling.prompt_logprobs is None:
            return None
        num_chosen = len(sampling.token_ids_logprob)
        return cls(sampling.prompt_logprobs, num_chosen, max(1, sampling.prompt_logprobs_from), len(message.prompt_ids))

    @property
    def complete(self) -> bool:
        """Whether every token that wants an entry has it."""
        return self._next >= self.num_prompt

    @property
    def num_reusable(self) -> int:
        """Leading tokens that need not be computed for the entries that are missing: the cache may have them."""
        return self.num_prompt if self.complete else self._next - 1

    @property
    def _next(self) -> int:
        return self.first + len(self.entries)

    def targets(self, token_ids: Sequence[int], start: int, end: int) -> Sequence[int]:
        """What follows the tokens computed from `start` to `end`, if any of it wants an entry; else nothing."""
        stop = min(end + 1, self.num_prompt)
        return token_ids[start + 1 : stop] if stop > max(self._next, start + 1) else ()

    def take(self, plan: SlotPlan, found: PromptLogprobs, row: int) -> None:
        """Books what a step found.

        Entries that are there already are passed over: after a preemption, tokens are computed again.

        Args:
            plan: the request's share of the step.
            found: of the whole step.
            row: where the request's tokens begin in it.
        """
        missing = self._next - 1 - plan.start  # the token before it is where the next entry's row is
        assert missing >= 0, "a prompt token was passed over"
        for index in range(row + missing, row + len(plan.targets)):
            top: list[tuple[int, float]] = []
            if self.num_top:
                ids, values = found.top_ids[index, : self.num_top], found.top_logprobs[index, : self.num_top]
                top = list(zip(ids.tolist(), values.tolist(), strict=True))
            entry = TokenLogprobs(float(found.logprobs[index]), top, chosen_logprobs(found, index, self.num_chosen))
            self.entries.append(entry)


def chosen_logprobs(found: PromptLogprobs | None, index: int, count: int) -> list[float]:
    """Of the first `count` chosen tokens, at row `index` of what a step found."""
    if not count:
        return []
    assert found is not None
    assert found.chosen is not None
    return [float(value) for value in found.chosen[index, :count]]
