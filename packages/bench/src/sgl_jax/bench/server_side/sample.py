"""One look at a server's own numbers, under names that do not depend on the server. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

_GAUGES = {
    "running": ("num_requests_running", "num_running_reqs", "running_requests", "requests_running", "running"),
    "waiting": ("num_requests_waiting", "num_queue_reqs", "waiting_requests", "requests_waiting", "waiting"),
    "kv_use": (
        "kv_cache_usage_perc",
        "gpu_cache_usage_perc",
        "kv_cache_usage",
        "kv_cache_use",
        "kv_usage",
        "kv_use",
        "token_usage",
    ),
    "batch_size": ("batch_size",),
}
_COUNTERS = {
    "prompt_tokens": ("prompt_tokens_total", "prefix_cache_queries_total"),
    "cached_tokens": ("cached_tokens_total", "prefix_cache_hits_total"),
    "generated_tokens": ("generation_tokens_total", "generated_tokens_total"),
    "preempted": ("preempted_total", "num_preemptions_total", "preemptions_total"),
    "queue_seconds": ("queue_time_seconds_sum", "queue_seconds_sum"),
    "queue_count": ("queue_time_seconds_count", "queue_seconds_count"),
}


@dataclass(frozen=True, slots=True)
class ServerSample:
    """What a server said in one moment; None where it did not say.

    Attributes:
        time: seconds after the run began.
        running, waiting: requests in the batch and in the queue.
        kv_use: share of the KV cache that is in use, 0 to 1.
        batch_size: sequences in the last step; `running` where the server has no number of its own.
        prompt_tokens, cached_tokens, generated_tokens: counted since the server started.
        preempted: requests that were put back since then.
        queue_seconds, queue_count: sum and number of waits in the queue since then.
    """

    time: float
    running: float | None = None
    waiting: float | None = None
    kv_use: float | None = None
    batch_size: float | None = None
    prompt_tokens: float | None = None
    cached_tokens: float | None = None
    generated_tokens: float | None = None
    preempted: float | None = None
    queue_seconds: float | None = None
    queue_count: float | None = None

    @classmethod
    def of(cls, time: float, info: Mapping[str, Any] | None, metrics: Mapping[str, float] | None) -> Self:
        """Return the sample of what was scraped.

        Args:
            time: seconds after the run began.
            info: the answer of `/get_server_info`; its `stats`, where it has them, go before metrics.
            metrics: the values of `/metrics` by name. SGL-JAX, SGLang and vLLM name the same things differently; what
                counts is how a name ends.
        """
        stats = info.get("stats") if info else None
        numbers = {name: float(value) for name, value in (stats or {}).items() if isinstance(value, int | float)}
        values = {field: _find(numbers, endings, metrics or {}) for field, endings in {**_GAUGES, **_COUNTERS}.items()}
        if (total := numbers.get("pages_total")) and "pages_free" in numbers:
            values["kv_use"] = 1.0 - numbers["pages_free"] / total
        if values["batch_size"] is None:
            values["batch_size"] = values["running"]
        return cls(time, **values)

    @property
    def empty(self) -> bool:
        """Whether the server said nothing that is of use."""
        return all(getattr(self, field.name) is None for field in fields(self) if field.name != "time")

    def to_json(self) -> dict[str, float]:
        """Return what is known as plain JSON values."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: round(value, 6) for name, value in named.items() if value is not None}


def _find(stats: Mapping[str, float], endings: tuple[str, ...], metrics: Mapping[str, float]) -> float | None:
    for ending in endings:
        if ending in stats:
            return stats[ending]
    for ending in endings:
        for name, value in metrics.items():
            if name == ending or name.endswith((f":{ending}", f"_{ending}")):
                return value
    return None
