"""The report that ends a run: the guide's rows first, word for word, then latencies, then what the reader should know.

The rows are plain text everywhere, so that a script that greps them keeps working; only the table dresses up for a
terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table

from sgl_jax.bench.durations import format_ms
from sgl_jax.bench.metrics import PERCENTILES, Distribution, Summary

Row = tuple[str, str]


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


def notes(summary: Summary) -> Iterator[str]:
    """Yield one sentence for each thing that limits what the numbers mean."""
    if summary.failures:
        kinds = ", ".join(f"{kind}: {number}" for kind, number in summary.failures.items())
        yield f"Failures by kind: {kinds}. The first said: {summary.first_failure}"
    if summary.missing_usage:
        yield (
            f"{summary.missing_usage} answers came without `usage`; their tokens are unknown and not counted. "
            "The server must support stream_options.include_usage."
        )
    if summary.tokens_per_chunk is not None and summary.tokens_per_chunk > 1.05:
        yield (
            f"A chunk carried {summary.tokens_per_chunk:.2f} tokens on average: ITL is the gap between chunks, "
            "TPOT the time of a token."
        )
    if summary.late_sends:
        yield (
            f"{summary.late_sends} requests left more than 5 ms late. Their latency counts from when they were due, "
            "so it includes the tester's delay."
        )
    if summary.lag is not None and summary.lag.percentiles["p50"] > 0.005:
        yield (
            f"The tester itself ran {format_ms(summary.lag.percentiles['p50'])} ms late at the median: it was short of "
            "CPU, and latencies are too high by about as much. Run it on another machine, or with fewer streams."
        )


def write_report(title: str, rows: Sequence[Row], summary: Summary, out: TextIO) -> None:
    """Write the report to `out`: the rows, the latency table, the notes."""
    console = Console(file=out, highlight=False, markup=False, soft_wrap=True)
    console.print(f"\n=== {title} ===")
    for name, value in rows:
        console.print(f"{name}: {value}")
    header = ["Latency (ms)", "mean", *(f"p{p:g}" for p in PERCENTILES), "max"]
    cells = [[name, *_cells(distribution)] for name, distribution in _latencies(summary)]
    console.print()
    if console.is_terminal:
        console.print(_rich_table(header, cells))
    else:
        for line in [header, *cells]:
            console.print(line[0].ljust(28) + "".join(cell.rjust(10) for cell in line[1:]))
    sentences = list(notes(summary))
    if sentences:
        console.print()
    for sentence in sentences:
        console.print(f"note: {sentence}")


def _latencies(summary: Summary) -> Iterator[tuple[str, Distribution | None]]:
    yield "TTFT (time to first token)", summary.ttft
    yield "ITL (between chunks)", summary.itl
    yield "TPOT (per output token)", summary.tpot
    yield "E2E (whole answer)", summary.e2e
    if summary.send_delay is not None:
        yield "Send delay (of the tester)", summary.send_delay
    yield "Lag (of the tester)", summary.lag


def _cells(distribution: Distribution | None) -> list[str]:
    if distribution is None:
        return ["-"] * (len(PERCENTILES) + 2)
    return [format_ms(value) for value in (distribution.mean, *distribution.percentiles.values(), distribution.max)]


def _rich_table(header: Sequence[str], cells: Sequence[Sequence[str]]) -> Table:
    table = Table(header_style="bold", border_style="dim")
    for position, name in enumerate(header):
        table.add_column(name, justify="right" if position else "left", no_wrap=True)
    for line in cells:
        table.add_row(*line)
    return table
