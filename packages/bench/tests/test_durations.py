from __future__ import annotations

import pytest

from sgl_jax.bench.durations import format_ms, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300ms", 0.3), ("1.5s", 1.5), ("2m", 120.0), ("1h", 3600.0), ("7", 7.0), ("250us", 0.00025), (" .5 s ", 0.5)],
)
def test_reads_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "ms", "-1s", "1 day", "1e3", "nan", "inf", "٣s"])
def test_refuses_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


def test_milliseconds_keep_three_digits() -> None:
    assert [format_ms(s) for s in (0.0, 0.00123, 0.0123, 0.123, 12.3)] == ["0.00", "1.23", "12.3", "123", "12,300"]
