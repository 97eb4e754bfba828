"""When requests should leave in an open loop: offsets from the start of the run, fixed before the first is sent."""

from __future__ import annotations

import random
from collections.abc import Iterator


def constant_arrivals(rate: float, duration: float) -> Iterator[float]:
    """Yield an arrival every `1 / rate` seconds, from 0, while below `duration` seconds."""
    index = 0
    while (offset := index / rate) < duration:
        yield offset
        index += 1


def poisson_arrivals(rate: float, duration: float, seed: int) -> Iterator[float]:
    """Yield the arrivals of a Poisson process of `rate` a second, while below `duration` seconds.

    The gaps are exponential: what many independent users look like. Equal seeds give equal arrivals.
    """
    rng = random.Random(seed)
    offset = rng.expovariate(rate)
    while offset < duration:
        yield offset
        offset += rng.expovariate(rate)
