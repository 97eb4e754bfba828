from __future__ import annotations

import io
from collections.abc import Callable

from sgl_jax.bench.report.notes import notes
from sgl_jax.bench.report.run_report import load_rows, run_report
from sgl_jax.bench.report.text import write_text_report
from sgl_jax.bench.results import Results
from sgl_jax.bench.server_side.sample import ServerSample
from sgl_jax.bench.server_side.series import ServerSeries
from sgl_jax.bench.slo import Slo

MakeResults = Callable[..., Results]

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


def _text(results: Results, out: io.StringIO | None = None) -> str:
    out = out or io.StringIO()
    write_text_report(run_report(results), out)
    return out.getvalue()


def test_the_guides_rows_come_first_and_word_for_word(make_results: MakeResults) -> None:
    lines = [line for line in _text(make_results()).splitlines() if line]
    assert lines[0] == "=== Benchmark Results ==="
    assert lines[1:10] == GUIDE_ROWS


def test_latencies_follow_in_milliseconds(make_results: MakeResults) -> None:
    lines = _text(make_results()).splitlines()
    header = next(line for line in lines if line.startswith("Latency (ms)"))
    assert header.split()[2:] == ["mean", "p50", "p90", "p95", "p99", "p99.9", "max"]
    for name, value in (("E2E", "2,500"), ("TTFT", "100"), ("TPOT", "800")):
        assert next(line for line in lines if line.startswith(name)).split()[-7:] == [value] * 7
    assert any(line.startswith("ITL") for line in lines)


def test_a_terminal_gets_the_same_rows_and_a_drawn_table(make_results: MakeResults) -> None:
    text = _text(make_results(), _Terminal())
    assert "Total Requests: 2\n" in text
    assert "┃" in text


def test_a_run_that_only_failed_reports_dashes_and_the_reason(make_results: MakeResults) -> None:
    results = make_results(failed=True)
    text = _text(results)
    assert "Success Rate: 0.00%" in text
    assert "http_429: 2. The first said: the queue [red]is[/red] full" in text
    assert next(line for line in text.splitlines() if line.startswith("TTFT")).split()[-7:] == ["-"] * 7
    assert load_rows(results.summary)[-1] == ("error", "All requests failed")


def test_the_load_tests_rows(make_results: MakeResults) -> None:
    report = run_report(make_results(due=1.0))
    assert report.heading == "Load Test Results"
    assert [name for name, _ in report.rows] == [
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
    assert dict(report.more)["Late Sends"] == "0"


def test_goodput_and_the_server_come_after(make_results: MakeResults) -> None:
    series = ServerSeries(
        (
            ServerSample(0.0, running=1.0, kv_use=0.25, prompt_tokens=0.0, cached_tokens=0.0, preempted=0.0),
            ServerSample(1.0, running=3.0, kv_use=0.75, prompt_tokens=40.0, cached_tokens=10.0, preempted=2.0),
        )
    )
    more = dict(run_report(make_results(slo=Slo(ttft=0.3), server_side=series)).more)
    assert more["Goodput (TTFT 300 ms)"] == "0.50 requests/s, 2.00 tokens/s, 100.0% of requests"
    assert more["Server KV Cache Use"] == "50.0% on average, 75.0% at most"
    assert more["Server Running Requests"] == "2.0 on average, 3.0 at most"
    assert more["Server Prefix Cache Hits"] == "25.0% of prompt tokens"
    assert more["Server Preemptions"] == "2"
    assert not any(name.startswith("Server") for name, _ in run_report(make_results()).more)


def test_nothing_is_noted_about_a_plain_run(make_results: MakeResults) -> None:
    assert list(notes(make_results().summary)) == []


def test_what_limits_the_numbers_is_noted(make_results: MakeResults) -> None:
    assert "without `usage`" in next(notes(make_results(tokens=None).summary))
    assert "4.00 tokens on average" in next(notes(make_results(tokens=16).summary))
    assert "The tester itself ran 20.0 ms late" in next(notes(make_results(lag=0.02).summary))
    assert "2 requests left more than 5.00 ms late" in next(notes(make_results(due=0.5).summary))
