from __future__ import annotations

import io

from sgl_jax.bench.progress import make_progress
from sgl_jax.bench.record import RequestFailure, RequestRecord


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _finish(out: io.StringIO, total: int, *, quiet: bool = False, failed: int = 0) -> str:
    progress = make_progress(total, out, quiet=quiet)
    progress.say("Starting")
    with progress:
        for index in range(total):
            failure = RequestFailure("timeout", "slow") if index < failed else None
            progress.on_record(RequestRecord(index, sent=0.0, end=1.0, output_tokens=5, failure=failure))
    return out.getvalue()


def test_plain_lines_come_at_every_tenth() -> None:
    lines = _finish(io.StringIO(), 40, failed=3).splitlines()
    assert lines[0] == "Starting"
    assert [line.split()[0] for line in lines[1:]] == [f"{done}/40" for done in range(4, 41, 4)]
    assert lines[-1].endswith("3 failed")


def test_few_requests_show_one_line_each() -> None:
    assert len(_finish(io.StringIO(), 3).splitlines()) == 4


def test_plain_lines_hold_no_control_codes() -> None:
    assert "\x1b" not in _finish(io.StringIO(), 20)


def test_a_terminal_gets_a_bar() -> None:
    text = _finish(_Terminal(), 20)
    assert "20/20" in text
    assert "\x1b" in text


def test_quiet_is_silent() -> None:
    assert _finish(io.StringIO(), 20, quiet=True) == ""
