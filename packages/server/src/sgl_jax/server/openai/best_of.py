"""`best_of` of `/v1/completions`: of the answers to each prompt, those that the model found likeliest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from sgl_jax.server.generation import Sequence as Finished


def likeliest(sequences: Sequence[Finished], drawn: int, kept: int) -> list[tuple[int, Finished]]:
    """The best of each prompt's answers, the best first, with their places in `sequences`.

    Args:
        sequences: `drawn` for each prompt, in the order of the prompts, with log-probabilities.
        kept: how many to keep of each prompt's.
    """
    return list(_kept(sequences, drawn, kept))


def _kept(sequences: Sequence[Finished], drawn: int, kept: int) -> Iterator[tuple[int, Finished]]:
    for start in range(0, len(sequences), drawn):
        places = range(start, start + drawn)
        # Sorting is stable: of equals, the first stays first.
        best = sorted(places, key=lambda place: _mean_logprob(sequences[place]), reverse=True)
        yield from ((place, sequences[place]) for place in best[:kept])


def _mean_logprob(sequence: Finished) -> float:
    """Per token, as OpenAI has it, so that a short answer is no better for being short."""
    if not sequence.logprobs:
        return -math.inf
    return sum(entry.logprob for entry in sequence.logprobs) / len(sequence.logprobs)
