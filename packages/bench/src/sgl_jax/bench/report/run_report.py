"""The report of a run: the guide's rows first, word for word, then latencies, then what the reader should know.

The rows are plain text everywhere, so that a script that greps them keeps working.
"""

from __future__ import annotations

from collections.abc import Iterator

from sgl_jax.bench.distribution import PERCENTILES, Distribution
from sgl_jax.bench.durations import format_ms
from sgl_jax.bench.metrics import Summary
from sgl_jax.bench.report.content import Report, Row, Table
from sgl_jax.bench.report.notes import notes
from sgl_jax.bench.results import Results
from sgl_jax.bench.server_side.series import ServerSeries


def run_report(results: Results) -> Report:
    """Return what is to say about a run."""
    summary = results.summary
    closed = results.strategy.get("kind") == "concurrent"
    return Report(
        heading="Benchmark Results" if closed else "Load Test Results",
        rows=benchmark_rows(summary) if closed else load_rows(summary),
        table=latency_table(summary),
        more=[*_more_rows(results, summary), *_server_rows(results.server_side)],
        notes=list(notes(summary)),
    )


def benchmark_rows(summary: Summary) -> list[Row]:
    """Return the rows of the guide's `benchmark.py`, in its wording, order and precision."""
    return [
        ("Total Requests", str(summary.total_requests)),
        ("Successful Requests", str(summary.successful_requests)),
        ("Failed Requests", str(summary.failed_requests)),
        ("Success Rate", f"{summary.success_rate:.2f}%"),
        ("Total Time", f"{summary.total_time:.2f}s"),
        ("Average Response Time", f"{summary.average_response_time:.3f}s"),
        ("Requests per Second", f"{summary.requests_per_second:.2f}"),
        ("Tokens per Second", f"{summary.tokens_per_second:.2f}"),
        ("Total Tokens Generated", str(summary.total_tokens_generated)),
    ]


def load_rows(summary: Summary) -> list[Row]:
    """Return the rows of the guide's `load_test.py`, in its wording, order and precision."""
    rows = [
        ("total_requests", str(summary.total_requests)),
        ("successful_requests", str(summary.successful_requests)),
        ("failed_requests", str(summary.failed_requests)),
        ("success_rate", f"{summary.success_rate:.3f}"),
    ]
    e2e = summary.e2e
    if e2e is None:
        return [*rows, ("error", "All requests failed")]
    return [
        *rows,
        ("avg_response_time", f"{e2e.mean:.3f}"),
        ("median_response_time", f"{e2e.percentiles['p50']:.3f}"),
        ("p95_response_time", f"{e2e.percentiles['p95']:.3f}"),
        ("p99_response_time", f"{e2e.percentiles['p99']:.3f}"),
        ("min_response_time", f"{e2e.min:.3f}"),
        ("max_response_time", f"{e2e.max:.3f}"),
        ("total_tokens", str(summary.total_tokens_generated)),
        ("avg_tokens_per_request", f"{summary.total_tokens_generated / summary.successful_requests:.3f}"),
        ("tokens_per_second", f"{summary.tokens_per_second:.3f}"),
    ]


def latency_table(summary: Summary) -> Table:
    """Return all latencies in milliseconds, one a row."""
    header = ["Latency (ms)", "mean", *(f"p{p:g}" for p in PERCENTILES), "max"]
    return Table(header, [[name, *_cells(distribution)] for name, distribution in _latencies(summary)])


def _latencies(summary: Summary) -> Iterator[tuple[str, Distribution | None]]:
    yield "TTFT (time to first token)", summary.ttft
    yield "ITL (between chunks)", summary.itl
    yield "TPOT (per output token)", summary.tpot
    yield "E2E (whole answer)", summary.e2e
    if summary.queue_wait is not None:
        yield "Queue wait (in the server)", summary.queue_wait
    if summary.send_delay is not None:
        yield "Send delay (of the tester)", summary.send_delay
    yield "Lag (of the tester)", summary.lag


def _cells(distribution: Distribution | None) -> list[str]:
    if distribution is None:
        return ["-"] * (len(PERCENTILES) + 2)
    return [format_ms(value) for value in (distribution.mean, *distribution.percentiles.values(), distribution.max)]


def _more_rows(results: Results, summary: Summary) -> Iterator[Row]:
    yield "Input Tokens", f"{summary.input_tokens}, {summary.cached_tokens} of them from the prefix cache"
    yield "Input Tokens per Second", f"{summary.input_tokens_per_second:.2f}"
    yield "Concurrency", f"{summary.mean_concurrency:.1f} on average, {summary.max_concurrency} at most"
    if summary.send_delay is not None:
        yield "Late Sends", str(summary.late_sends)
    if results.slo is not None and (goodput := summary.goodput) is not None:
        yield (
            f"Goodput ({results.slo})",
            f"{goodput.requests_per_second:.2f} requests/s, {goodput.tokens_per_second:.2f} tokens/s, "
            f"{goodput.share:.1f}% of requests",
        )


def _server_rows(series: ServerSeries) -> Iterator[Row]:
    """What the server said of itself; nothing where it says nothing."""
    for name, gauge, factor, unit in (
        ("Server KV Cache Use", series.gauge("kv_use"), 100, "%"),
        ("Server Running Requests", series.gauge("running"), 1, ""),
        ("Server Waiting Requests", series.gauge("waiting"), 1, ""),
        ("Server Batch Size", series.gauge("batch_size"), 1, ""),
    ):
        if gauge is not None:
            yield name, f"{gauge.mean * factor:.1f}{unit} on average, {gauge.max * factor:.1f}{unit} at most"
    if series.hit_rate is not None:
        yield "Server Prefix Cache Hits", f"{100 * series.hit_rate:.1f}% of prompt tokens"
    if series.mean_queue_wait is not None:
        yield "Server Queue Wait", f"{format_ms(series.mean_queue_wait)} ms on average"
    if preempted := series.grown("preempted"):
        yield "Server Preemptions", f"{preempted:.0f}"
