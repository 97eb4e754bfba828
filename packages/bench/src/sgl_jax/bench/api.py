"""Benchmarks from Python: what `run` and `load` do, as functions for tests and notebooks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from sgl_jax.bench.errors import WorkloadError

if TYPE_CHECKING:
    from sgl_jax.bench.results import Results
    from sgl_jax.bench.slo import Slo
    from sgl_jax.bench.strategy import Strategy
    from sgl_jax.bench.workload.base import Workload


class Options(TypedDict, total=False):
    """Keyword arguments that every benchmark takes."""

    workload: str | Sequence[str] | Workload
    """What is sent: a spec as of `--workload`, several to mix, or an object of your own."""
    max_tokens: int
    """Most tokens of an answer; 100 unless told otherwise."""
    model: str | None
    """Left out: the first that the server lists."""
    endpoint: Literal["chat", "completions"]
    temperature: float
    """0.7 unless told otherwise."""
    seed: int | None
    """Fixes what is drawn at random here, and is sent to the server, plus the request's index."""
    ignore_eos: bool
    """Generate `max_tokens` tokens, whatever the model says."""
    api_key: str | None
    """Left out: `$SGL_JAX_API_KEY`."""
    timeout: float
    """Seconds that one request may take in all."""
    wait_ready: float
    """Seconds to wait for a server that is still starting."""
    warmup: int
    """Requests that are sent first and forgotten."""
    scrape: float
    """How often to look at the server's own numbers, in seconds; 0 never does."""
    slo: str | Slo | None
    """What a good request keeps to, as `ttft:300ms,itl:50ms`."""
    progress: bool
    """Whether to show on standard error how far it is."""


def closed_loop(url: str, *, concurrent: int = 10, requests: int = 100, **options: Unpack[Options]) -> Results:
    """Send `requests` requests, `concurrent` at a time.

    Runs an event loop of its own, so call it from a thread where one is running already.

    Raises:
        UnusableServerError: the server cannot be measured at all; single failed requests are part of the results.
        WorkloadError: the workload cannot be had.
        ValueError: an objective is not understood.
    """
    from sgl_jax.bench.strategy import ConcurrentStrategy

    title = f"Starting benchmark with {requests} requests, {concurrent} concurrent"
    return _measure(url, title, "run", ConcurrentStrategy(concurrent, requests), "questions", requests, options)


def open_loop(
    url: str,
    *,
    rate: float = 10.0,
    duration: float = 60.0,
    arrivals: Literal["constant", "poisson", "gamma"] = "constant",
    burstiness: float = 3.0,
    **options: Unpack[Options],
) -> Results:
    """Send `rate` requests a second for `duration` seconds, whether or not answers come.

    `burstiness` is the coefficient of variation of the gaps of `gamma` arrivals. Otherwise as `closed_loop`.
    """
    from sgl_jax.bench.arrival import arrivals as arrivals_of
    from sgl_jax.bench.strategy import ArrivalStrategy

    offsets = list(arrivals_of(arrivals, rate, duration, burstiness, options.get("seed") or 0))
    title = f"Starting load test: {duration:g}s duration, {rate:g} requests/second, {arrivals} arrivals"
    strategy = ArrivalStrategy(arrivals, offsets, {"rate": rate})
    return _measure(url, title, "load", strategy, "numbered", len(offsets), options)


def _measure(
    url: str, title: str, command: str, strategy: Strategy, default: str, total: int, options: Options
) -> Results:
    from sgl_jax.bench.progress.display import make_progress
    from sgl_jax.bench.session import BenchmarkPlan, carry_out
    from sgl_jax.bench.slo import Slo
    from sgl_jax.bench.target.options import TargetOptions

    unknown = set(options) - Options.__optional_keys__
    if unknown:
        raise TypeError(f"there is no option {', '.join(sorted(unknown))}")
    slo = options.get("slo")
    target = TargetOptions(
        url=url,
        model=options.get("model"),
        endpoint=options.get("endpoint", "chat"),
        temperature=options.get("temperature", 0.7),
        seed=options.get("seed"),
        ignore_eos=options.get("ignore_eos", False),
        api_key=options.get("api_key"),
        timeout=options.get("timeout", 600.0),
        wait_ready=options.get("wait_ready", 0.0),
    )
    plan = BenchmarkPlan(
        title=title,
        options=target,
        workload=_workload(options, default),
        strategy=strategy,
        warmup=options.get("warmup", 0),
        scrape_seconds=options.get("scrape", 1.0),
        slo=Slo.parse(slo) if isinstance(slo, str) else slo,
    )
    progress = make_progress(total, sys.stderr, quiet=not options.get("progress", False))
    flags = {name: str(value) for name, value in options.items() if name != "api_key"}
    return carry_out(plan, progress, command, {"url": url, **strategy.describe(), **flags})


def _workload(options: Options, default: str) -> Workload:
    from sgl_jax.bench.workload.specs import Defaults, workload_of

    chosen = options.get("workload", default)
    if not isinstance(chosen, str | Sequence):
        return chosen
    specs = [chosen] if isinstance(chosen, str) else list(chosen)
    if not specs:
        raise WorkloadError("workload names nothing: give at least one spec")
    return workload_of(specs, Defaults(options.get("max_tokens", 100), options.get("seed")))
