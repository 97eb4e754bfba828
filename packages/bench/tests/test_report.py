from __future__ import annotations

import io

from sgl_jax.bench.metrics import Summary, summarize
from sgl_jax.bench.record import RequestFailure, RequestRecord
from sgl_jax.bench.report import benchmark_rows, load_rows, notes, write_report
from sgl_jax.bench.runner import RunResult

GUIDE_ROWS = [
    "Total Requests: 2",
    "Successful Requests: 2",
    "Failed Requests: 0",
    "Success Rate: 100.00%",
    "Total Time: 4.00s",
    "Average Response Time: 2.500s",
    "Requests per Second: 0.50",
    "Tokens per Second: 2.00",
    "Total Tokens Generated: 8",
]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _summary(*, tokens: int | None = 4, failed: bool = False, lag: float = 0.0, due: float | None = None) -> Summary:
    records = [
        RequestRecord(
            i, sent=1.0, chunk_times=[1.1, 2.0, 3.0, 3.25], end=3.5, input_tokens=9, output_tokens=tokens, due=due
        )
        for i in range(2)
    ]
    if failed:
        for record in records:
            record.failure = RequestFailure("http_429", "the queue is full", 429)
    return summarize(RunResult(tuple(records), origin=0.0, started_at=0.0, duration=4.0, lag=(lag,)))


def _report(summary: Summary, out: io.StringIO | None = None) -> str:
    out = out or io.StringIO()
    write_report("Benchmark Results", benchmark_rows(summary), summary, out)
    return out.getvalue()


def test_the_guides_rows_come_first_and_word_for_word() -> None:
    lines = [line for line in _report(_summary()).splitlines() if line]
    assert lines[0] == "=== Benchmark Results ==="
    assert lines[1:10] == GUIDE_ROWS


def test_latencies_follow_in_milliseconds() -> None:
    lines = _report(_summary()).splitlines()
    header = next(line for line in lines if line.startswith("Latency (ms)"))
    assert header.split()[2:] == ["mean", "p50", "p90", "p95", "p99", "max"]
    assert next(line for line in lines if line.startswith("E2E")).split()[-6:] == ["2,500"] * 6
    assert next(line for line in lines if line.startswith("TTFT")).split()[-6:] == ["100"] * 6
    assert next(line for line in lines if line.startswith("TPOT")).split()[-6:] == ["800"] * 6
    assert any(line.startswith("ITL") for line in lines)


def test_a_terminal_gets_the_same_rows_and_a_drawn_table() -> None:
    text = _report(_summary(), _Terminal())
    assert "Total Requests: 2\n" in text
    assert "┃" in text


def test_a_run_that_only_failed_reports_dashes_and_the_reason() -> None:
    summary = _summary(failed=True)
    text = _report(summary)
    assert "Success Rate: 0.00%" in text
    assert "http_429: 2. The first said: the queue is full" in text
    assert next(line for line in text.splitlines() if line.startswith("TTFT")).split()[-6:] == ["-"] * 6
    assert load_rows(summary)[-1] == ("error", "All requests failed")


def test_markup_in_an_error_message_is_shown_as_it_is() -> None:
    record = RequestRecord(0, sent=0.0, end=1.0, failure=RequestFailure("http_400", "bad [red]field[/red] \\[x]", 400))
    assert "bad [red]field[/red] \\[x]" in _report(summarize(RunResult((record,), 0.0, 0.0, 1.0, ())), _Terminal())


def test_nothing_is_noted_about_a_plain_run() -> None:
    assert list(notes(_summary())) == []


def test_what_limits_the_numbers_is_noted() -> None:
    assert "without `usage`" in next(notes(_summary(tokens=None)))
    assert "4.00 tokens on average" in next(notes(_summary(tokens=16)))
    assert "The tester itself ran 20.0 ms late" in next(notes(_summary(lag=0.02)))
    assert "2 requests left more than 5 ms late" in next(notes(_summary(due=0.5)))


def test_the_load_tests_rows() -> None:
    assert [name for name, _ in load_rows(_summary())] == [
        "total_requests",
        "successful_requests",
        "failed_requests",
        "success_rate",
        "avg_response_time",
        "median_response_time",
        "p95_response_time",
        "p99_response_time",
        "min_response_time",
        "max_response_time",
        "total_tokens",
        "avg_tokens_per_request",
        "tokens_per_second",
    ]
