"""Every metric: its name, its kind, what it means, and where its value comes from.

Those that SGLang has too bear its names (`sglang:…`), so that its dashboards and alerts work; the others begin with
`sgl_jax_`. All have the label `model_name`. Values of the engine are missing while there is no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from sgl_jax.engine.messages import EngineInfo
from sgl_jax.engine.stats import EngineStats
from sgl_jax.server.metrics.counters import Counters
from sgl_jax.server.metrics.histogram import Histogram

Kind = Literal["counter", "gauge", "histogram"]
Labelled = Mapping[tuple[str, ...], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that is known at one moment.

    Attributes:
        stats: the engine's own; None when it did not answer.
        info: None until the engine is ready.
        ready: whether requests are welcome.
        restarts: engines that replaced a dead one.
        tokens_per_second: generated since the snapshot before.
    """

    counters: Counters
    stats: EngineStats | None
    info: EngineInfo | None
    ready: bool
    restarts: int
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family.

    Attributes:
        name: without the `_total` that counters get.
        read: its value; values by label; or None when it has none now.
        labels: beside `model_name`.
    """

    name: str
    kind: Kind
    help: str
    read: Callable[[Snapshot], float | Labelled | Histogram | None]
    labels: tuple[str, ...] = ()


def _stat(name: str) -> Callable[[Snapshot], float | None]:
    return lambda now: None if now.stats is None else float(getattr(now.stats, name))


def _kv_use(now: Snapshot) -> float | None:
    """Share of the pool's pages that requests hold; cached ones that nobody uses count as free."""
    if now.stats is None or not now.stats.pages_total:
        return None
    return 1 - now.stats.pages_free / now.stats.pages_total


def _kv_tokens(now: Snapshot) -> float | None:
    used = _kv_use(now)
    return None if used is None or now.info is None else round(used * now.info.max_total_tokens)


def _hit_rate(now: Snapshot) -> float | None:
    if now.stats is None:
        return None
    return now.stats.cached_tokens_total / max(now.stats.prompt_tokens_total, 1)


def _pages(now: Snapshot) -> Labelled | None:
    stats = now.stats
    if stats is None:
        return None
    return {
        ("used",): stats.pages_total - stats.pages_free,
        ("cached",): stats.pages_cached,
        ("free",): stats.pages_free,
    }


def _step_seconds(now: Snapshot) -> Labelled | None:
    if now.stats is None:
        return None
    return {(part,): getattr(now.stats, f"{part}_ms") / 1e3 for part in ("schedule", "dispatch", "wait", "commit")}


CATALOG = (
    Metric("sglang:num_running_reqs", "gauge", "Sequences being computed: the batch size.", _stat("running")),
    Metric("sglang:num_queue_reqs", "gauge", "Sequences waiting.", _stat("waiting")),
    Metric("sglang:num_used_tokens", "gauge", "Tokens in the KV pool that running sequences hold.", _kv_tokens),
    Metric(
        "sglang:max_total_num_tokens",
        "gauge",
        "Size of the KV pool, in tokens.",
        lambda now: None if now.info is None else now.info.max_total_tokens,
    ),
    Metric("sglang:token_usage", "gauge", "Share of the KV pool that running sequences hold.", _kv_use),
    Metric("sglang:cache_hit_rate", "gauge", "Share of prompt tokens that the prefix cache saved.", _hit_rate),
    Metric(
        "sglang:gen_throughput",
        "gauge",
        "Generated tokens per second since the scrape before.",
        lambda now: now.tokens_per_second,
    ),
    Metric("sglang:prompt_tokens", "counter", "Prompt tokens taken in.", _stat("prompt_tokens_total")),
    Metric("sglang:generation_tokens", "counter", "Tokens generated.", _stat("generated_tokens_total")),
    Metric("sglang:cached_tokens", "counter", "Prompt tokens that the cache saved.", _stat("cached_tokens_total")),
    Metric("sglang:num_requests", "counter", "Sequences ended.", lambda now: now.counters.outcomes.total()),
    Metric(
        "sglang:num_aborted_requests",
        "counter",
        "Sequences aborted, or left by their client.",
        lambda now: now.counters.outcomes["abort"] + now.counters.outcomes["disconnect"],
    ),
    Metric(
        "sglang:time_to_first_token_seconds",
        "histogram",
        "From the request to the first token of each sequence.",
        lambda now: now.counters.first_token,
    ),
    Metric(
        "sglang:inter_token_latency_seconds",
        "histogram",
        "Between the tokens of a sequence.",
        lambda now: now.counters.between_tokens,
    ),
    Metric(
        "sglang:e2e_request_latency_seconds",
        "histogram",
        "From the request to the end of each sequence.",
        lambda now: now.counters.whole_request,
    ),
    Metric(
        "sglang:queue_time_seconds",
        "histogram",
        "From the queue to the first step of each sequence.",
        lambda now: now.counters.in_queue,
    ),
    Metric(
        "sgl_jax_sequences",
        "counter",
        "Sequences ended, by outcome: stop, length, abort, error, or disconnect.",
        lambda now: {(outcome,): count for outcome, count in now.counters.outcomes.items()},
        ("outcome",),
    ),
    Metric(
        "sgl_jax_http_responses",
        "counter",
        "HTTP answers; status 499 is a client that left.",
        lambda now: now.counters.responses,
        ("method", "route", "status"),
    ),
    Metric("sgl_jax_preemptions", "counter", "Sequences sent back to the queue.", _stat("preempted_total")),
    Metric("sgl_jax_steps", "counter", "Steps of the engine.", _stat("steps_total")),
    Metric(
        "sgl_jax_step_seconds",
        "gauge",
        "What the latest steps took, by part: schedule, dispatch, wait (for the device) and commit.",
        _step_seconds,
        ("part",),
    ),
    Metric("sgl_jax_kv_pages", "gauge", "Pages of the KV pool; cached ones are free, too.", _pages, ("state",)),
    Metric("sgl_jax_evicted_pages", "counter", "Cached pages given to others.", _stat("pages_evicted_total")),
    Metric("sgl_jax_compiles", "counter", "Programs compiled.", _stat("compiles_total")),
    Metric(
        "sgl_jax_compiles_after_warmup",
        "counter",
        "Programs compiled while requests waited for them.",
        _stat("compiles_after_warmup"),
    ),
    Metric("sgl_jax_ready", "gauge", "1 while requests are welcome, else 0.", lambda now: float(now.ready)),
    Metric("sgl_jax_engine_restarts", "counter", "Engines that replaced a dead one.", lambda now: now.restarts),
)
