from __future__ import annotations

import pytest

from sgl_jax.engine.messages import Finish, TokenDelta
from sgl_jax.server.metrics.counters import Counters, SequenceClock


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time; a test sets the only element."""
    time = [100.0]
    monkeypatch.setattr("sgl_jax.server.metrics.counters.time.perf_counter", lambda: time[0])
    return time


def test_a_sequence_is_timed_from_the_start_to_each_token_to_the_end(now: list[float]) -> None:
    counters = Counters()
    clock = SequenceClock(counters)
    now[0] += 0.5
    clock.tick(TokenDelta([1], queue_seconds=0.2))
    now[0] += 0.1
    clock.tick(TokenDelta([2]))
    now[0] += 0.6
    clock.tick(TokenDelta([3, 4, 5], Finish(reason="stop")))  # three steps that its reader takes at once
    clock.end("stop")
    assert (counters.first_token.count, counters.first_token.sum) == (1, pytest.approx(0.5))
    assert (counters.in_queue.count, counters.in_queue.sum) == (1, 0.2)
    assert (counters.between_tokens.count, counters.between_tokens.sum) == (4, pytest.approx(0.7))
    assert (counters.whole_request.count, counters.whole_request.sum) == (1, pytest.approx(1.2))
    assert counters.outcomes == {"stop": 1}


def test_a_sequence_without_tokens_has_only_an_end(now: list[float]) -> None:
    counters = Counters()
    clock = SequenceClock(counters)
    clock.tick(TokenDelta([], Finish(reason="length")))
    clock.end("length")
    assert counters.first_token.count == counters.between_tokens.count == counters.in_queue.count == 0
    assert counters.whole_request.count == 1
