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


def gamma_arrivals(rate: float, duration: float, cv: float, seed: int) -> Iterator[float]:
    """Yield arrivals whose gaps are gamma-distributed, `rate` a second on average, while below `duration` seconds.

    Args:
        rate: mean requests a second.
        duration: seconds.
        cv: coefficient of variation of the gaps, their standard deviation over their mean. 1 is a Poisson process,
            more comes in bursts with silence between them, less is more regular.
        seed: equal seeds give equal arrivals.
    """
    rng = random.Random(seed)
    shape = 1 / cv**2
    offset = rng.gammavariate(shape, 1 / (rate * shape))
    while offset < duration:
        yield offset
        offset += rng.gammavariate(shape, 1 / (rate * shape))


def poisson_arrivals(rate: float, duration: float, seed: int) -> Iterator[float]:
    """Yield the arrivals of a Poisson process of `rate` a second, while below `duration` seconds.

    The gaps are exponential: what many independent users look like. Equal seeds give equal arrivals.
    """
    rng = random.Random(seed)
    offset = rng.expovariate(rate)
    while offset < duration:
        yield offset
        offset += rng.expovariate(rate)


def arrivals(kind: str, rate: float, duration: float, cv: float, seed: int) -> Iterator[float]:
    """Return the arrivals of a `constant`, `poisson` or `gamma` kind; only the last has a `cv`."""
    if kind == "gamma":
        return gamma_arrivals(rate, duration, cv, seed)
    return poisson_arrivals(rate, duration, seed) if kind == "poisson" else constant_arrivals(rate, duration)
