"""What is reported is what the server did, within 2 %: held against what the mock itself measured, on the same clock.

A machine that stands still for a moment delays the tester and not what the mock wrote down before. That is no fault of
the tester, so a measurement may be repeated; a tester that is wrong would be wrong each time.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from itertools import pairwise

import pytest

from sgl_jax.bench.api import closed_loop, open_loop
from sgl_jax.bench.mock.behaviour import MockBehaviour
from sgl_jax.bench.mock.server import MockServer
from sgl_jax.bench.results import Results

StartMock = Callable[[MockBehaviour], MockServer]

TOKENS = 11
BEHAVIOUR = MockBehaviour(ttft=0.2, itl=0.04, tokens=TOKENS)
ATTEMPTS = 5


def _closed(url: str) -> Results:
    return closed_loop(url, concurrent=6, requests=12, scrape=0.0)


def _open(url: str) -> Results:
    return open_loop(url, rate=20, duration=0.6, arrivals="poisson", seed=1, scrape=0.0)


def _reported(results: Results) -> dict[str, float]:
    summary = results.summary
    assert summary.failed_requests == 0
    assert summary.ttft is not None
    assert summary.itl is not None
    assert summary.tpot is not None
    return {
        "ttft": summary.ttft.percentiles["p50"],
        "itl": summary.itl.percentiles["p50"],
        "tpot": summary.tpot.percentiles["p50"],
        "tokens_per_second": summary.tokens_per_second,
    }


def _true(server: MockServer) -> dict[str, float]:
    log = server.log
    seconds = max(served.sent[-1] for served in log) - min(served.arrived for served in log)
    return {
        "ttft": statistics.median(served.sent[0] - served.arrived for served in log),
        "itl": statistics.median(later - earlier for served in log for earlier, later in pairwise(served.sent)),
        "tpot": statistics.median((served.sent[-1] - served.sent[0]) / (TOKENS - 1) for served in log),
        "tokens_per_second": len(log) * TOKENS / seconds,
    }


@pytest.mark.parametrize("measure", [_closed, _open])
def test_what_is_reported_is_what_the_server_did(start_mock: StartMock, measure: Callable[[str], Results]) -> None:
    misses = []
    for _ in range(ATTEMPTS):
        server = start_mock(BEHAVIOUR)
        reported, true = _reported(measure(server.url)), _true(server)
        off = {name: reported[name] / true[name] - 1 for name in true}
        if all(abs(error) < 0.02 for error in off.values()):
            return
        misses.append(off)
    pytest.fail(f"beyond 2 % each time: {misses}")
