"""What can be compared, under the names that people use: `ttft_p99`, `tokens_per_second`."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Self

from sgl_jax.bench.distribution import PERCENTILES
from sgl_jax.bench.metrics import Summary

LATENCIES = ("ttft", "itl", "tpot", "e2e", "queue_wait")
RATES = ("requests_per_second", "tokens_per_second", "goodput", "success_rate")
_STATISTICS = ("mean", *(f"p{p:g}" for p in PERCENTILES))

DEFAULT_MEASURES = (
    "ttft_p50",
    "ttft_p99",
    "itl_p50",
    "itl_p99",
    "tpot_mean",
    "e2e_p50",
    "e2e_p99",
    "requests_per_second",
    "tokens_per_second",
    "goodput",
    "success_rate",
)


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of a run.

    Attributes:
        quantity: a latency, or a rate.
        statistic: of a latency: `mean`, `p50`, ...; empty for a rate.
    """

    quantity: str
    statistic: str = ""

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the measure called `name`.

        Raises:
            ValueError: there is none; says which come close.
        """
        if name in RATES:
            return cls(name)
        quantity, _, statistic = name.rpartition("_")
        if quantity in LATENCIES and statistic in _STATISTICS:
            return cls(quantity, statistic)
        everything = [*(f"{latency}_{stat}" for latency in LATENCIES for stat in _STATISTICS), *RATES]
        near = get_close_matches(name, everything, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(everything)}"
        raise ValueError(f"there is no measure {name!r}; {hint}")

    @property
    def name(self) -> str:
        """The name that `parse` reads."""
        return f"{self.quantity}_{self.statistic}" if self.statistic else self.quantity

    @property
    def lower_is_better(self) -> bool:
        """Whether a smaller number is the better one."""
        return bool(self.statistic)

    @property
    def quantile(self) -> float | None:
        """The share of values below a percentile, 0 to 1; None for what is no percentile."""
        return float(self.statistic[1:]) / 100 if self.statistic.startswith("p") else None

    @property
    def values_needed(self) -> int:
        """How many values a side must have at least, for one of them to lie beyond the percentile."""
        return 1 if self.quantile is None else round(1 / (1 - self.quantile))

    def of(self, summary: Summary) -> float | None:
        """Return the measure's value in a run: seconds, a second, or percent; None where it has none."""
        if self.quantity == "goodput":
            return None if summary.goodput is None else summary.goodput.requests_per_second
        if not self.statistic:
            rate: float = getattr(summary, self.quantity)
            return rate
        distribution = getattr(summary, self.quantity)
        if distribution is None:
            return None
        value: float = distribution.mean if self.statistic == "mean" else distribution.percentiles[self.statistic]
        return value
