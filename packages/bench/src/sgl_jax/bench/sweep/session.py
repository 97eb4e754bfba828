"""One sweep from start to end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sgl_jax.bench.arrival import arrivals
from sgl_jax.bench.metrics import summarize
from sgl_jax.bench.progress.display import ProgressDisplay
from sgl_jax.bench.provenance import collect_provenance
from sgl_jax.bench.session import measure, warm_up
from sgl_jax.bench.slo import Slo
from sgl_jax.bench.strategy import ArrivalStrategy, ConcurrentStrategy, Strategy
from sgl_jax.bench.sweep.climb import StopRule, best_level, climb
from sgl_jax.bench.sweep.results import Level, SweepResults
from sgl_jax.bench.target.connect import connect
from sgl_jax.bench.target.options import TargetOptions
from sgl_jax.bench.target.target import Target
from sgl_jax.bench.workload.base import RequestSpec, Workload


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What to do.

    Attributes:
        options: the server, and how to sample.
        workload: where requests come from; no level repeats what another one sent.
        levels: rising; concurrent requests, or requests a second where there are `arrivals`.
        arrivals: how requests are spread in an open loop; None is a closed one.
        burstiness: of gamma arrivals.
        seconds: for how long requests are sent at a level.
        rule: when to stop.
        seed: of arrivals.
        warmup: how many requests are sent before the first level and forgotten.
        scrape_seconds: how often the server's own numbers are looked at; 0 never.
        slo: what a good request keeps to.
    """

    options: TargetOptions
    workload: Workload
    levels: tuple[float, ...]
    arrivals: str | None
    burstiness: float
    seconds: float
    rule: StopRule
    seed: int
    warmup: int
    scrape_seconds: float
    slo: Slo | None

    @property
    def unit(self) -> str:
        """What the levels count."""
        return "concurrent requests" if self.arrivals is None else "requests per second"

    def strategy(self, level: float) -> Strategy:
        """Return the strategy of a level."""
        if self.arrivals is None:
            return ConcurrentStrategy(int(level), seconds=self.seconds)
        offsets = arrivals(self.arrivals, level, self.seconds, self.burstiness, self.seed)
        return ArrivalStrategy(self.arrivals, offsets, {"rate": level})


def carry_out_sweep(plan: SweepPlan, progress: ProgressDisplay, command: str, flags: dict[str, Any]) -> SweepResults:
    """Carry out `plan`, on an event loop of its own; the arguments are as for a single run.

    Raises:
        UnusableServerError: the server cannot be measured at all.
    """
    return asyncio.run(_carry_out(plan, progress, command, flags))


async def _carry_out(plan: SweepPlan, progress: ProgressDisplay, command: str, flags: dict[str, Any]) -> SweepResults:
    started_at = datetime.now(UTC)
    async with connect(plan.options, progress.say) as target:
        progress.say(f"Starting sweep, model {target.model} at {target.url}")
        requests = plan.workload.requests()
        await warm_up(target, requests, plan.warmup, progress)
        climber = _Climber(plan, target, requests, progress)
        levels, stopped = await climb(plan.levels, climber.measure, plan.rule)
    return SweepResults(
        unit=plan.unit,
        levels=tuple(levels),
        stopped=stopped,
        best=best_level(levels, plan.rule),
        workload=plan.workload.name,
        started_at=started_at,
        provenance=collect_provenance(command, flags, climber.server),
    )


class _Climber:
    """Measures single levels; the requests go on from level to level."""

    def __init__(
        self, plan: SweepPlan, target: Target, requests: Iterator[RequestSpec], progress: ProgressDisplay
    ) -> None:
        self.server: dict[str, Any] = {}
        self._plan = plan
        self._target = target
        self._requests = requests
        self._progress = progress

    async def measure(self, value: float) -> Level:
        plan = self._plan
        self._progress.say(f"{value:g} {plan.unit} for {plan.seconds:g} s...")
        measured = await measure(
            self._target, plan.strategy(value), self._requests, self._progress, plan.scrape_seconds
        )
        self.server = self.server or measured.server
        summary = summarize(measured.result, plan.slo)
        self._progress.say(f"  {summary.tokens_per_second:,.1f} tok/s, {summary.failed_requests} failed")
        return Level(value, summary, measured.series)
