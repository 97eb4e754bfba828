"""How far a measure of one run would move if other requests had been drawn: the bootstrap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sgl_jax.bench.comparison.blocks import BlockedRun, Floats, Histogram
from sgl_jax.bench.comparison.measures import Measure

SMALLEST_RATE = 1e-3
"""Rates below this (a second, or a share) count as this: a ratio to zero says nothing."""

SHORTEST = 1e-9
"""And latencies below this, in seconds."""


def deviations(run: BlockedRun, measures: Sequence[Measure], draws: int, rng: np.random.Generator) -> Floats:
    """Draw the run's blocks with replacement, and return how far each measure moves.

    All measures see the same draws, so what they have in common stays.

    Returns:
        (measures, draws) natural logarithm of drawn over observed.
    """
    blocks = len(run)
    weights = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=draws).astype(np.float64)
    weights = np.vstack([np.ones(blocks), weights])  # the first draw is what was observed
    counted: _Counted = {}
    logs = np.array([_log_values(run, measure, weights, counted) for measure in measures])
    # Drawn from so few blocks, spreads come out too small by this factor.
    return np.asarray((logs[:, 1:] - logs[:, :1]) * np.sqrt(blocks / max(blocks - 1, 1)))


_Counted = dict[str, tuple[Histogram, Floats]]
"""A latency's histogram and what the draws make of it: the same for all of its percentiles."""


def _log_values(run: BlockedRun, measure: Measure, weights: Floats, counted: _Counted) -> Floats:
    """Return (draws,) logarithms of a measure under each weighting of the blocks."""
    latency = measure.quantity
    if not measure.statistic:
        return _logs(_rate(run, measure.quantity, weights), SMALLEST_RATE)
    if measure.quantile is None:
        total, number = run.sums(latency)
        return _logs((weights @ total) / np.maximum(weights @ number, 1.0), SHORTEST)
    if latency not in counted:
        histogram = run.histogram(latency)
        counted[latency] = histogram, histogram.counts(weights)
    histogram, counts = counted[latency]
    return _logs(histogram.quantiles(counts, measure.quantile), SHORTEST)


def _logs(values: Floats, least: float) -> Floats:
    return np.asarray(np.log(np.maximum(values, least)))


def _rate(run: BlockedRun, quantity: str, weights: Floats) -> Floats:
    if quantity == "success_rate":
        return np.asarray((weights @ run.successes) / (weights @ run.requests))
    amounts = {
        "requests_per_second": run.successes,
        "tokens_per_second": run.tokens,
        "goodput": run.good,
    }[quantity]
    if run.closed_loop:
        # Little's law: with so many callers, quicker answers mean more of them.
        seconds = (weights @ run.busy) / max(run.results.summary.mean_concurrency, 1e-9)
    else:
        seconds = (weights @ run.requests) / run.requests.sum() * run.results.run.duration
    return np.asarray((weights @ amounts) / np.maximum(seconds, 1e-9))
