"""Several workloads at once, in set proportions."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

from sgl_jax.bench.workload.base import RequestSpec, Workload


class Mixed:
    """Takes each conversation from one of several workloads, at random.

    Args:
        parts: weights and workloads; a part of twice the weight is taken twice as often.
        seed: equal seeds give equal choices.
    """

    def __init__(self, parts: Sequence[tuple[float, Workload]], seed: int) -> None:
        self._parts = list(parts)
        self._seed = seed

    @property
    def name(self) -> str:
        """A short name for reports and results files."""
        return "mix of " + "; ".join(f"{weight:g} x {part.name}" for weight, part in self._parts)

    def requests(self) -> Iterator[RequestSpec]:
        """Return a fresh endless iterator over the parts' requests, numbered anew."""
        rng = random.Random(self._seed)
        weights = [weight for weight, _ in self._parts]
        sources = [(part.name, part.requests()) for _, part in self._parts]
        for index in count():
            [(name, source)] = rng.choices(sources, weights)
            yield _renamed(next(source), index, name)


def _renamed(spec: RequestSpec, index: int, workload: str) -> RequestSpec:
    follow = spec.next_turn
    return replace(
        spec,
        index=index,
        workload=workload,
        next_turn=None if follow is None else lambda answer: _renamed(follow(answer), index, workload),
    )
