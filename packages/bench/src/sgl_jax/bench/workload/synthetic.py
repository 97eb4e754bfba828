"""Made-up prompts of set lengths: alone, behind a prefix that many share, or as conversations of several turns."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count

from sgl_jax.bench.workload.base import Message, RequestSpec
from sgl_jax.bench.workload.conversation import UserTurn, conversation
from sgl_jax.bench.workload.lengths import Lengths
from sgl_jax.bench.workload.words import made_up_text

DEFAULT_INPUT = Lengths("fixed", 128)
"""How long a prompt is where nobody says."""


class Synthetic:
    """Single prompts; no two share their beginning, so no prefix cache can answer for the model.

    Args:
        input_lengths: tokens of the prompt.
        output_lengths: most tokens of the answer; exact where the end of the text is ignored.
        seed: equal seeds give equal requests.
    """

    def __init__(self, input_lengths: Lengths, output_lengths: Lengths, seed: int) -> None:
        self._input = input_lengths
        self._output = output_lengths
        self._seed = seed

    @property
    def name(self) -> str:
        """A short name for reports and results files."""
        return f"synthetic, input {self._input}, output {self._output}"

    def requests(self) -> Iterator[RequestSpec]:
        """Return a fresh endless iterator over the prompts."""
        rng = random.Random(self._seed)
        for index in count():
            text = made_up_text(rng, self._input.draw(rng))
            yield RequestSpec(index, (Message("user", text),), self._output.draw(rng))


class SharedPrefix:
    """Prompts that begin alike, as those of one application do: what a prefix cache is for.

    Args:
        groups: how many different prefixes there are; each request takes one at random.
        prefix_lengths: tokens of a prefix; it is sent as the system prompt.
        input_lengths: tokens of a request's own part.
        output_lengths: most tokens of the answer.
        seed: equal seeds give equal requests.
    """

    def __init__(
        self, groups: int, prefix_lengths: Lengths, input_lengths: Lengths, output_lengths: Lengths, seed: int
    ) -> None:
        self._groups = groups
        self._prefix = prefix_lengths
        self._input = input_lengths
        self._output = output_lengths
        self._seed = seed

    @property
    def name(self) -> str:
        """A short name for reports and results files."""
        return f"{self._groups} shared prefixes of {self._prefix}, input {self._input}, output {self._output}"

    def requests(self) -> Iterator[RequestSpec]:
        """Return a fresh endless iterator over the prompts."""
        rng = random.Random(self._seed)
        prefixes = [Message("system", made_up_text(rng, self._prefix.draw(rng))) for _ in range(self._groups)]
        for index in count():
            own = Message("user", made_up_text(rng, self._input.draw(rng)))
            yield RequestSpec(index, (rng.choice(prefixes), own), self._output.draw(rng))


class Conversations:
    """Conversations of several turns; each request carries the whole conversation so far, real answers included.

    Args:
        turns: requests of one conversation.
        input_lengths: tokens that the user says in a turn.
        output_lengths: most tokens of each answer.
        pause: seconds between an answer and the next turn.
        seed: equal seeds give equal user's parts.
    """

    def __init__(
        self, turns: Lengths, input_lengths: Lengths, output_lengths: Lengths, pause: float, seed: int
    ) -> None:
        self._turns = turns
        self._input = input_lengths
        self._output = output_lengths
        self._pause = pause
        self._seed = seed

    @property
    def name(self) -> str:
        """A short name for reports and results files."""
        return f"conversations of {self._turns} turns, input {self._input}, output {self._output}"

    def requests(self) -> Iterator[RequestSpec]:
        """Return a fresh endless iterator over the first requests of conversations."""
        rng = random.Random(self._seed)
        for index in count():
            turns = [
                UserTurn(made_up_text(rng, self._input.draw(rng)), self._output.draw(rng))
                for _ in range(self._turns.draw(rng))
            ]
            yield conversation(index, turns, pause=self._pause)
