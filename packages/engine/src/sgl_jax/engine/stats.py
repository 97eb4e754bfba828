"""Numbers about a running engine, taken once a step and read by whoever wants to watch."""

from __future__ import annotations

import msgspec


class EngineStats(msgspec.Struct, kw_only=True):
    """Counters since start-up and gauges of this moment.

    `pages_free` counts pages that a request could have now, unused cached ones included. Times are
    exponential moving averages of the last steps, in milliseconds.
    """

    running: int = 0
    waiting: int = 0
    preempted_total: int = 0
    finished_total: int = 0
    prompt_tokens_total: int = 0
    cached_tokens_total: int = 0
    generated_tokens_total: int = 0
    steps_total: int = 0
    pages_total: int = 0
    pages_free: int = 0
    pages_cached: int = 0
    pages_evicted_total: int = 0
    compiles_total: int = 0
    compiles_after_warmup: int = 0
    schedule_ms: float = 0.0
    dispatch_ms: float = 0.0
    wait_ms: float = 0.0
    commit_ms: float = 0.0
