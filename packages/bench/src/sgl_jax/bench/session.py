"""One benchmark from start to end: connect, warm up, run, with progress on the way."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

from sgl_jax.bench.progress import ProgressDisplay
from sgl_jax.bench.runner import RunResult, run
from sgl_jax.bench.strategy import ConcurrentStrategy, Strategy
from sgl_jax.bench.target import TargetOptions, connect
from sgl_jax.bench.workload.base import Workload

_WARMUP_STREAMS = 8


@dataclass(frozen=True, slots=True)
class BenchmarkPlan:
    """What to do.

    Attributes:
        title: what is done, for people: "Benchmark with 100 requests".
        options: the server, and how to sample.
        workload: where requests come from.
        strategy: when they are sent.
        limit: how many are measured at most; None leaves it to the strategy.
        warmup: how many are sent first and forgotten. The measured ones go on where these end.
    """

    title: str
    options: TargetOptions
    workload: Workload
    strategy: Strategy
    limit: int | None = None
    warmup: int = 0


@dataclass(frozen=True, slots=True)
class Measurement:
    """What came of a plan: the run, and what is known of the server (`url`, `model`, `info`)."""

    result: RunResult
    server: dict[str, Any]


async def carry_out(plan: BenchmarkPlan, progress: ProgressDisplay) -> Measurement:
    """Carry out `plan`.

    Raises:
        UnusableServerError: the server cannot be measured at all.
    """
    async with connect(plan.options, plan.strategy.expected_streams) as target:
        progress.say(f"{plan.title}, model {target.model} at {plan.options.root}")
        requests = plan.workload.requests()
        if plan.warmup:
            progress.say(f"Warming up with {plan.warmup} requests...")
            await run(ConcurrentStrategy(_WARMUP_STREAMS), islice(requests, plan.warmup), target.measure)
        with progress:
            result = await run(plan.strategy, islice(requests, plan.limit), target.measure, progress)
        server = {"url": plan.options.root, "model": target.model, "info": target.info}
        return Measurement(result, server)
