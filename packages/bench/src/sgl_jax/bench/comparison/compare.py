"""The comparison of two sides: a verdict for each measure, and one for all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sgl_jax.bench.comparison.blocks import BlockedRun
from sgl_jax.bench.comparison.intervals import DRAWS, RUN_NOISE, Interval, ratio_intervals
from sgl_jax.bench.comparison.measures import DEFAULT_MEASURES, Measure
from sgl_jax.bench.comparison.settings import setting_differences
from sgl_jax.bench.comparison.thresholds import Threshold
from sgl_jax.bench.errors import CompareError
from sgl_jax.bench.results import Results

CONFIDENCE = 0.95


class Verdict(StrEnum):
    """What can be said about a measure."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "no difference found"
    UNKNOWN = "too few requests"


@dataclass(frozen=True, slots=True)
class Row:
    """One measure of both sides.

    Attributes:
        measure: which.
        baseline, new: geometric means over the runs: seconds, a second, or percent.
        interval: new over baseline; None where there are too few requests to say.
        threshold: the limit to its change, if there is one.
    """

    measure: Measure
    baseline: float
    new: float
    interval: Interval | None
    threshold: Threshold | None = None

    @property
    def verdict(self) -> Verdict:
        """What the interval says: a difference is found when it does not hold 1."""
        if self.interval is None:
            return Verdict.UNKNOWN
        if self.interval.low <= 1 <= self.interval.high:
            return Verdict.SAME
        return Verdict.WORSE if (self.interval.low > 1) == self.measure.lower_is_better else Verdict.BETTER

    @property
    def broken(self) -> bool:
        """Whether the threshold is broken: a difference was found, and it is beyond the limit."""
        found = self.verdict in (Verdict.WORSE, Verdict.BETTER)
        if not found or self.threshold is None or self.interval is None:
            return False
        return self.threshold.broken_by(self.interval.ratio)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of `compare`.

    Attributes:
        rows: one a measure.
        gated: whether thresholds decide; without any, every measure that got worse fails.
        runs: number of runs of the baseline and of the new side.
        confidence: probability with which all intervals hold together.
        run_noise: by how much runs were taken to differ by themselves, as far as they did not show it.
        differences: settings in which the sides differ.
    """

    rows: tuple[Row, ...]
    gated: bool
    runs: tuple[int, int]
    confidence: float
    run_noise: float
    differences: tuple[str, ...]

    @property
    def failures(self) -> tuple[Row, ...]:
        """The rows that make the comparison fail."""
        if self.gated:
            return tuple(row for row in self.rows if row.broken)
        return tuple(row for row in self.rows if row.verdict is Verdict.WORSE)

    @property
    def ok(self) -> bool:
        """Whether nothing fails."""
        return not self.failures

    def to_markdown(self) -> str:
        """Return the comparison as Markdown."""
        from sgl_jax.bench.report.comparison_report import comparison_report
        from sgl_jax.bench.report.markdown import markdown_report

        return markdown_report(comparison_report(self))


def compare(
    baseline: Results | Sequence[Results],
    new: Results | Sequence[Results],
    *,
    fail_if: Sequence[str | Threshold] = (),
    measures: Sequence[str] = (),
    confidence: float = CONFIDENCE,
    run_noise: float = RUN_NOISE,
    draws: int = DRAWS,
) -> Comparison:
    """Compare runs. Several a side tell differences between versions from differences between runs.

    Args:
        baseline: what was.
        new: what is.
        fail_if: limits, as `ttft_p99 > +10%`; without any, every measure that got worse fails.
        measures: what to compare beside what has a limit; without any, the usual ones.
        confidence: probability with which all intervals hold together: one minus the chance that a comparison of a
            thing with itself finds any difference.
        run_noise: by how much runs of the same thing differ: a standard deviation, as a share. The runs themselves
            correct it, the more of them there are.
        draws: of the bootstrap.

    Raises:
        ThresholdError: a limit is not understood.
        CompareError: a side has no run, or cannot say anything about a measure that was asked for.
    """
    before = [baseline] if isinstance(baseline, Results) else list(baseline)
    after = [new] if isinstance(new, Results) else list(new)
    if not before or not after:
        raise CompareError("each side needs at least one run")
    thresholds = [Threshold.parse(each) if isinstance(each, str) else each for each in fail_if]
    limits = {threshold.measure: threshold for threshold in thresholds}
    if len(limits) < len(thresholds):
        raise CompareError("a measure has two limits: keep one --fail-if for each")
    asked = [*limits, *(_measure(name) for name in measures)]
    wanted = list(dict.fromkeys([*(asked if measures else map(Measure.parse, DEFAULT_MEASURES)), *asked]))
    rows = _rows(before, after, wanted, confidence, run_noise, draws)
    for measure in asked:
        row = rows.get(measure)
        if row is None:
            raise CompareError(f"{measure.name} cannot be compared: not every run has a value for it")
        if row.interval is None:
            raise CompareError(
                f"{measure.name} cannot be compared: it takes at least {measure.values_needed} values a side; "
                "send more requests, or compare a lower percentile"
            )
    return Comparison(
        rows=tuple(
            Row(row.measure, row.baseline, row.new, row.interval, limits.get(row.measure)) for row in rows.values()
        ),
        gated=bool(limits),
        runs=(len(before), len(after)),
        confidence=confidence,
        run_noise=run_noise,
        differences=tuple(setting_differences(before, after)),
    )


def _rows(
    before: Sequence[Results],
    after: Sequence[Results],
    wanted: Sequence[Measure],
    confidence: float,
    run_noise: float,
    draws: int,
) -> dict[Measure, Row]:
    """Return the row of each measure that every run has a value for, in the order of `wanted`."""
    present = [m for m in wanted if all(m.of(results.summary) is not None for results in (*before, *after))]
    enough = [m for m in present if all(_values(side, m) >= m.values_needed for side in (before, after))]
    intervals: dict[Measure, Interval] = {}
    if enough:
        sides = [[BlockedRun(results) for results in side] for side in (before, after)]
        found = ratio_intervals(sides[0], sides[1], enough, confidence=confidence, run_noise=run_noise, draws=draws)
        intervals = dict(zip(enough, found, strict=True))
    return {m: Row(m, _mean(before, m), _mean(after, m), intervals.get(m)) for m in present}


def _measure(name: str) -> Measure:
    try:
        return Measure.parse(name)
    except ValueError as error:
        raise CompareError(str(error)) from error


def _values(side: Sequence[Results], measure: Measure) -> int:
    """Return how many values a side has; for rates, how many requests."""
    if not measure.statistic:
        return sum(results.summary.total_requests for results in side)
    distributions = [getattr(results.summary, measure.quantity) for results in side]
    return sum(distribution.count for distribution in distributions)


def _mean(side: Sequence[Results], measure: Measure) -> float:
    """Return the geometric mean over runs, as ratios ask for."""
    values = [value for results in side if (value := measure.of(results.summary)) is not None]
    if min(values) <= 0:
        return sum(values) / len(values)
    return math.exp(sum(map(math.log, values)) / len(values))
