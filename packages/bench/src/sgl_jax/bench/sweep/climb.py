"""Climbs the levels of a sweep until there is no more to gain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sgl_jax.bench.metrics import Summary
from sgl_jax.bench.sweep.results import Level


@dataclass(frozen=True, slots=True)
class StopRule:
    """When a sweep has seen enough.

    Attributes:
        min_gain: a level that gives less than this share more output tokens a second than the best one before it is
            the last: the server is saturated. 0 never stops for that.
        min_good: a level at which a smaller share of requests is good is the last; see `Goodput.share`. Failed
            requests are not good, whether or not there are objectives.
    """

    min_gain: float = 0.05
    min_good: float = 0.95

    def good(self, summary: Summary) -> bool:
        """Return whether enough requests were good."""
        share = summary.goodput.share if summary.goodput is not None else summary.success_rate
        return summary.total_requests > 0 and share >= 100.0 * self.min_good

    def reason(self, levels: Sequence[Level]) -> str | None:
        """Return why the last of `levels` is enough; None to go on."""
        *before, last = levels
        if last.summary.total_requests == 0:
            return f"At {last.value:g} no request was sent; measure longer."
        if not self.good(last.summary):
            goodput = last.summary.goodput
            what = f"{last.summary.success_rate:.1f}% of requests succeeded"
            if goodput is not None:
                what = f"{goodput.share:.1f}% of requests kept the objectives"
            return f"At {last.value:g} only {what}."
        top = max((level.summary.tokens_per_second for level in before), default=0.0)
        if before and self.min_gain and last.summary.tokens_per_second < top * (1 + self.min_gain):
            return f"At {last.value:g} throughput gained less than {100 * self.min_gain:g}%: the server is saturated."
        return None


async def climb(
    values: Sequence[float], measure: Callable[[float], Awaitable[Level]], rule: StopRule
) -> tuple[list[Level], str]:
    """Measure at each of `values` until `rule` says stop; return the levels, and why they end."""
    levels: list[Level] = []
    for value in values:
        levels.append(await measure(value))
        if (reason := rule.reason(levels)) is not None:
            return levels, reason
    return levels, "All levels were measured; the server may be able to do more."


def best_level(levels: Sequence[Level], rule: StopRule) -> float | None:
    """Return the level with the highest throughput among those with enough good requests; None when there is none."""
    good = [level for level in levels if rule.good(level.summary)]
    return max(good, key=lambda level: level.summary.tokens_per_second).value if good else None
