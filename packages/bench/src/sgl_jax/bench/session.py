"""One benchmark from start to end: connect, warm up, run, with progress on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sgl_jax.bench.progress.display import ProgressDisplay
from sgl_jax.bench.provenance import collect_provenance
from sgl_jax.bench.results import Results
from sgl_jax.bench.runner import RunResult, run
from sgl_jax.bench.server_side.scraper import Scraper
from sgl_jax.bench.server_side.series import ServerSeries
from sgl_jax.bench.slo import Slo
from sgl_jax.bench.strategy import ConcurrentStrategy, Strategy
from sgl_jax.bench.target.connect import connect
from sgl_jax.bench.target.options import TargetOptions
from sgl_jax.bench.target.target import Target
from sgl_jax.bench.workload.base import RequestSpec, Workload

_WARMUP_STREAMS = 8


@dataclass(frozen=True, slots=True)
class BenchmarkPlan:
    """What to do.

    Attributes:
        title: what is done, for people: "Benchmark with 100 requests".
        options: the server, and how to sample.
        workload: where requests come from.
        strategy: when they are sent.
        warmup: how many requests are sent first and forgotten.
        warmup_workload: where those come from; None means `workload`, whose measured requests go on where they end.
        scrape_seconds: how often the server's own numbers are looked at; 0 never.
        slo: what a good request keeps to.
    """

    title: str
    options: TargetOptions
    workload: Workload
    strategy: Strategy
    warmup: int = 0
    warmup_workload: Workload | None = None
    scrape_seconds: float = 1.0
    slo: Slo | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """One run, and what was learnt of the server meanwhile.

    Attributes:
        result: the records.
        server: its `url`, `model` and `info`.
        series: its own numbers.
    """

    result: RunResult
    server: dict[str, Any]
    series: ServerSeries


def carry_out(plan: BenchmarkPlan, progress: ProgressDisplay, command: str, flags: dict[str, Any]) -> Results:
    """Carry out `plan`, on an event loop of its own.

    Args:
        plan: what to do.
        progress: is told what happens.
        command, flags: for the provenance; without secrets.

    Raises:
        UnusableServerError: the server cannot be measured at all.
    """
    measured = asyncio.run(_carry_out(plan, progress))
    return Results(
        run=measured.result,
        workload=plan.workload.name,
        strategy=plan.strategy.describe(),
        provenance=collect_provenance(command, flags, measured.server),
        slo=plan.slo,
        server_side=measured.series,
    )


async def _carry_out(plan: BenchmarkPlan, progress: ProgressDisplay) -> Measured:
    async with connect(plan.options, progress.say) as target:
        progress.say(f"{plan.title}, model {target.model} at {target.url}")
        requests = plan.workload.requests()
        warming = requests if plan.warmup_workload is None else plan.warmup_workload.requests()
        await warm_up(target, warming, plan.warmup, progress)
        return await measure(target, plan.strategy, requests, progress, plan.scrape_seconds)


async def warm_up(target: Target, requests: Iterator[RequestSpec], number: int, progress: ProgressDisplay) -> None:
    """Send `number` requests and forget them."""
    if number:
        progress.say(f"Warming up with {number} requests...")
        await run(ConcurrentStrategy(_WARMUP_STREAMS, number), islice(requests, number), target.measure)


async def measure(
    target: Target,
    strategy: Strategy,
    requests: Iterator[RequestSpec],
    progress: ProgressDisplay,
    scrape_seconds: float,
) -> Measured:
    """Drive `strategy` once, and watch the server meanwhile."""
    async with Scraper(target, scrape_seconds) as scraper:
        with progress:
            result = await run(strategy, requests, target.measure, progress)
    return Measured(result, {"url": target.url, "model": target.model, "info": scraper.info}, scraper.series())
