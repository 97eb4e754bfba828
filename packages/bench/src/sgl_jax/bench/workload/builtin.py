"""The prompts that are sent when nobody names any."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from sgl_jax.bench.workload.base import Message, RequestSpec
from sgl_jax.bench.workload.prompts import PromptCycle

_QUESTIONS = (
    "Explain the concept of machine learning in simple terms.",
    "What are the benefits of renewable energy?",
    "Describe the process of photosynthesis.",
    "How does blockchain technology work?",
    "What is the importance of data privacy?",
)


def builtin_questions(max_tokens: int) -> PromptCycle:
    """Return the five questions of the user's guide, cycled; at most `max_tokens` tokens an answer."""
    return PromptCycle("built-in questions", _QUESTIONS, max_tokens)


class NumberedQuestion:
    """One question with a running number in front, so that no two prompts are equal.

    The number comes first, so a prefix cache cannot answer for the model: what a load test should measure.
    """

    name = "built-in numbered question"

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens

    def requests(self) -> Iterator[RequestSpec]:
        """Return a fresh endless iterator over the numbered prompts."""
        for index in count():
            prompt = f"Request {index}: Explain quantum computing briefly."
            yield RequestSpec(index, (Message("user", prompt),), self._max_tokens)
