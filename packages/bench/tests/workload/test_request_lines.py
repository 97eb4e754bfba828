from __future__ import annotations

from pathlib import Path

import pytest

from sgl_jax.bench.errors import WorkloadError
from sgl_jax.bench.workload.request_lines import RequestLine, read_request_lines
from sgl_jax.bench.workload.trace import Trace, read_trace


def _read(tmp_path: Path, *lines: str) -> list[RequestLine]:
    path = tmp_path / "requests.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return list(read_request_lines(path, max_tokens=16, seed=0))


def _trace(tmp_path: Path, *lines: str) -> Trace:
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return read_trace(path, max_tokens=16, seed=0)


def test_a_line_says_what_is_asked_in_one_of_three_ways(tmp_path: Path) -> None:
    prompt, messages, made_up = _read(
        tmp_path,
        '{"prompt": "What is AI?", "max_tokens": 64, "unknown": 1}',
        "",
        '{"messages": [{"role": "user", "content": "Hello"}], "extra": {"top_p": 0.9}}',
        '{"input_length": 30, "output_length": 8}',
    )
    assert (prompt.messages[0].content, prompt.max_tokens, prompt.extra) == ("What is AI?", 64, {})
    assert (messages.messages[0].role, messages.max_tokens) == ("user", 16)
    assert messages.extra == {"messages": [{"role": "user", "content": "Hello"}], "top_p": 0.9}
    assert (len(made_up.messages[0].content.split()), made_up.max_tokens) == (30, 8)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: "),
        ("[]", "must be a JSON object"),
        ("{}", 'needs "prompt", "messages" or "input_len"'),
        ('{"messages": "hello"}', "messages must be a list"),
        ('{"input_len": -1}', "input_len must be a whole number of at least 1, not -1"),
        ('{"prompt": "x", "max_tokens": "8"}', "max_tokens must be a whole number"),
        ('{"prompt": "x", "extra": 1}', "extra must be a JSON object"),
        ('{"prompt": "x", "timestamp": "noon"}', "timestamp must be seconds or ISO 8601, not 'noon'"),
        ('{"prompt": "x", "timestamp": true}', "timestamp must be"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(WorkloadError) as error:
        _read(tmp_path, '{"prompt": "fine"}', line)
    assert message in str(error.value)
    assert "requests.jsonl, line 2" in str(error.value)


def test_a_trace_is_replayed_in_order_and_at_its_speed(tmp_path: Path) -> None:
    trace = _trace(
        tmp_path,
        '{"prompt": "second", "timestamp": "2026-01-01T00:00:02+00:00"}',
        '{"prompt": "first", "timestamp": "2026-01-01T00:00:00Z"}',
        '{"prompt": "third", "timestamp": "2026-01-01T00:00:06.5+00:00"}',
    )
    assert trace.offsets(1.0) == [0.0, 2.0, 6.5]
    assert trace.offsets(2.0) == [0.0, 1.0, 3.25]
    assert [(spec.index, spec.as_text()) for spec in trace.requests()] == [(0, "first"), (1, "second"), (2, "third")]


@pytest.mark.parametrize(
    ("lines", "message"),
    [((), "holds no request"), (('{"prompt": "x", "timestamp": 1}', '{"prompt": "y"}'), "1 of 2 lines have no")],
)
def test_a_trace_without_times_is_refused(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        _trace(tmp_path, *lines)
