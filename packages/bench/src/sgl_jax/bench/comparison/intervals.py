"""The interval in which the ratio of each measure lies, over several runs a side and for all measures at once.

Two things make runs differ when nothing was changed:

1. Other requests, other luck: seen inside each run, by drawing its blocks again (`bootstrap`).
2. Another day: a run as a whole is a bit faster or slower than the next. It is seen only between runs of a side. With
   k runs a side there are 2k - 2 degrees of freedom for it, and with one run a side none; so what is known beforehand,
   that runs differ by `RUN_NOISE` or so, counts as `PRIOR_RUNS` more. (The same weighing of a prior against few
   observations as in moderated t-statistics: Smyth 2004, "Linear models and empirical Bayes methods".) Each draw adds
   noise of that size, from Student's t-distribution, since the size itself is only estimated.

Intervals are simultaneous: they are as much wider as it takes for *all* of them to hold together (max-t over the joint
draws: Westfall and Young 1993), so looking at a dozen measures does not make a dozen chances of a false alarm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sgl_jax.bench.comparison.blocks import BlockedRun, Floats
from sgl_jax.bench.comparison.bootstrap import SHORTEST, SMALLEST_RATE, deviations
from sgl_jax.bench.comparison.measures import Measure

RUN_NOISE = 0.03
"""By how much runs of the same thing usually differ on a machine that nobody else uses: a standard deviation."""

PRIOR_RUNS = 3
"""As how many observations that counts."""

DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Interval:
    """New over baseline: the ratio of the two sides' geometric means over runs, and where it lies."""

    ratio: float
    low: float
    high: float


def ratio_intervals(
    baseline: Sequence[BlockedRun],
    new: Sequence[BlockedRun],
    measures: Sequence[Measure],
    *,
    confidence: float,
    run_noise: float = RUN_NOISE,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Interval]:
    """Return the interval of each measure's ratio.

    Args:
        baseline, new: the runs of each side, at least one; every measure has a value in each.
        measures: what is compared; at least one.
        confidence: probability with which all intervals hold together, below 1.
        run_noise: by how much runs of the same thing differ, as far as is known beforehand.
        draws: of the bootstrap.
        seed: equal seeds give equal intervals.
    """
    rng = np.random.default_rng(seed)
    sides = [_Side(runs, measures, draws, rng) for runs in (baseline, new)]
    known = np.array([0.0 if measure.quantity == "success_rate" else run_noise for measure in measures])
    freedom = sum(len(side.runs) - 1 for side in sides)
    between = sum(side.squares for side in sides) / max(freedom, 1)
    within = np.mean([variance for side in sides for variance in side.variances], axis=0)
    # What runs differ by beyond what their own requests explain.
    excess = np.maximum(between - within, 0.0)
    noise = np.sqrt((PRIOR_RUNS * known**2 + freedom * excess) / (PRIOR_RUNS + freedom))
    noise *= math.sqrt(sum(1 / len(side.runs) for side in sides))
    moved = sides[1].moved - sides[0].moved
    moved += noise[:, None] * rng.standard_t(PRIOR_RUNS + freedom, size=moved.shape)
    spread = np.maximum(moved.std(axis=1), 1e-6)
    reach = np.quantile((np.abs(moved) / spread[:, None]).max(axis=0), confidence) * spread
    centre = sides[1].means - sides[0].means
    triples = zip(centre, centre - reach, centre + reach, strict=True)
    return [Interval(*(math.exp(float(value)) for value in triple)) for triple in triples]


class _Side:
    """One side's logarithms.

    Attributes:
        means: (measures,) mean over runs.
        squares: (measures,) sum of squared distances of the runs from it.
        variances: one (measures,) a run, of its own draws.
        moved: (measures, draws) mean over runs of how far the draws move.
    """

    def __init__(
        self, runs: Sequence[BlockedRun], measures: Sequence[Measure], draws: int, rng: np.random.Generator
    ) -> None:
        self.runs = runs
        values: Floats = np.array([[_log_value(run, measure) for measure in measures] for run in runs])
        self.means: Floats = values.mean(axis=0)
        self.squares: Floats = ((values - self.means) ** 2).sum(axis=0)
        drawn = [deviations(run, measures, draws, rng) for run in runs]
        self.variances: list[Floats] = [each.var(axis=1) for each in drawn]
        self.moved: Floats = np.mean(drawn, axis=0)


def _log_value(run: BlockedRun, measure: Measure) -> float:
    value = measure.of(run.results.summary)
    assert value is not None
    if measure.quantity == "success_rate":
        value /= 100
    return math.log(max(value, SHORTEST if measure.statistic else SMALLEST_RATE))
