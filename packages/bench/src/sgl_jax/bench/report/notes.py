"""What limits the meaning of a run's numbers."""

from __future__ import annotations

from collections.abc import Iterator

from sgl_jax.bench.durations import format_ms
from sgl_jax.bench.metrics import LATE_SECONDS, Summary

_PACKED = 1.05
"""So many tokens a chunk are one, give or take a token without text of its own."""

_LAG_SECONDS = 0.005


def notes(summary: Summary) -> Iterator[str]:
    """Yield one sentence for each thing that the reader should know."""
    if summary.failures:
        kinds = ", ".join(f"{kind}: {number}" for kind, number in summary.failures.items())
        yield f"Failures by kind: {kinds}. The first said: {summary.first_failure}"
    if summary.missing_usage:
        yield (
            f"{summary.missing_usage} answers came without `usage`; their tokens are unknown and not counted. "
            "The server must support stream_options.include_usage."
        )
    if summary.tokens_per_chunk is not None and summary.tokens_per_chunk > _PACKED:
        yield (
            f"A chunk carried {summary.tokens_per_chunk:.2f} tokens on average: ITL is the gap between chunks, "
            "TPOT the time of a token."
        )
    if summary.late_sends:
        yield (
            f"{summary.late_sends} requests left more than {format_ms(LATE_SECONDS)} ms late. Their latency counts "
            "from when they were due, so it includes the tester's delay."
        )
    if summary.lag is not None and summary.lag.percentiles["p50"] > _LAG_SECONDS:
        yield (
            f"The tester itself ran {format_ms(summary.lag.percentiles['p50'])} ms late at the median: it was short of "
            "CPU, and latencies are too high by about as much. Run it on another machine, or with fewer streams."
        )
