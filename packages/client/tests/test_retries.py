from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.client._retries import LONGEST_DELAY, parse_retry_after, retry_delay, status_may_repeat


@pytest.mark.parametrize("status", [429, 503])
def test_refusals_may_always_be_repeated(status):
    assert status_may_repeat(status, idempotent=False)
    assert status_may_repeat(status, idempotent=True)


@pytest.mark.parametrize("status", [408, 500, 502, 504])
def test_failures_midway_are_repeated_only_when_nothing_can_happen_twice(status):
    assert not status_may_repeat(status, idempotent=False)
    assert status_may_repeat(status, idempotent=True)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 422])
def test_other_answers_are_final(status):
    assert not status_may_repeat(status, idempotent=True)


@given(attempt=st.integers(1, 10_000), seed=st.integers())
def test_pauses_grow_and_are_bounded(attempt, seed):
    delay = retry_delay(attempt, rng=random.Random(seed))
    full = min(0.5 * 2.0 ** min(attempt - 1, 16), LONGEST_DELAY)
    assert full / 2 <= delay <= full


@given(attempt=st.integers(1, 20), asked=st.floats(0, 60), seed=st.integers())
def test_retry_after_is_never_undercut(attempt, asked, seed):
    assert asked <= retry_delay(attempt, asked, rng=random.Random(seed)) <= asked * 1.1 + 1e-9


@pytest.mark.parametrize("asked", [61.0, 3600.0, float("inf")])
def test_too_long_a_wait_is_not_begun(asked):
    assert retry_delay(1, asked) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2.0),
        (" 0.25 ", 0.25),
        ("-3", 0.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("nan", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, seconds):
    assert parse_retry_after({"retry-after": value}, now=10.0) == seconds


def test_no_retry_after():
    assert parse_retry_after({}) is None


@given(st.text())
def test_any_retry_after_is_survived(value):
    wait = parse_retry_after({"retry-after": value})
    assert wait is None or wait >= 0
