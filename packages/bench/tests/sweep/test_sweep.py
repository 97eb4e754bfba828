from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from sgl_jax.bench.metrics import Goodput, Summary, summarize
from sgl_jax.bench.runner import RunResult
from sgl_jax.bench.server_side.series import ServerSeries
from sgl_jax.bench.sweep.climb import StopRule, best_level, climb
from sgl_jax.bench.sweep.levels import parse_levels
from sgl_jax.bench.sweep.results import Level

EMPTY = summarize(RunResult((), 0.0, 0.0, 1.0, ()))


def _summary(throughput: float, good: float | None = None, success: float = 100.0) -> Summary:
    goodput = None if good is None else Goodput({"ttft": 0.3}, 1, good, 1.0, 1.0)
    return replace(EMPTY, total_requests=10, tokens_per_second=throughput, success_rate=success, goodput=goodput)


def _climb(*summaries: Summary, rule: StopRule | None = None) -> tuple[list[float], str, float | None]:
    rule = rule or StopRule()
    values = [2.0**position for position in range(len(summaries))]

    async def measure(value: float) -> Level:
        return Level(value, summaries[values.index(value)], ServerSeries())

    levels, reason = asyncio.run(climb(values, measure, rule))
    return [level.value for level in levels], reason, best_level(levels, rule)


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("1,2,5,10", (1, 2, 5, 10)),
        ("0.5", (0.5,)),
        ("1:64", (1, 2, 4, 8, 16, 32, 64)),
        ("3:20", (3, 6, 12, 20)),
        ("4:4", (4,)),
    ],
)
def test_levels_are_listed_or_doubled(text: str, levels: tuple[float, ...]) -> None:
    assert parse_levels(text) == levels


@pytest.mark.parametrize("text", ["", "0,1", "2,1", "1,1", "8:4", "a", "1:2:3", "-1:4", "1,inf", "nan"])
def test_what_are_no_levels_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write 1,2,4,8 or"):
        parse_levels(text)


def test_a_sweep_stops_when_the_server_is_saturated() -> None:
    levels, reason, best = _climb(*map(_summary, (100, 190, 300, 310, 400)))
    assert levels == [1, 2, 4, 8]
    assert "At 8 throughput gained less than 5%" in reason
    assert best == 8


def test_a_sweep_stops_when_an_objective_breaks() -> None:
    levels, reason, best = _climb(_summary(100, 100.0), _summary(190, 97.0), _summary(300, 60.0), _summary(500, 100.0))
    assert levels == [1, 2, 4]
    assert "At 4 only 60.0% of requests kept the objectives" in reason
    assert best == 2


def test_a_sweep_stops_when_requests_fail() -> None:
    levels, reason, best = _climb(_summary(100, success=50.0), _summary(200))
    assert levels == [1]
    assert "50.0% of requests succeeded" in reason
    assert best is None


def test_a_sweep_may_be_told_to_measure_all_levels() -> None:
    levels, reason, _ = _climb(*map(_summary, (100, 100, 100)), rule=StopRule(min_gain=0.0))
    assert levels == [1, 2, 4]
    assert "All levels were measured" in reason


def test_a_level_without_requests_is_the_last() -> None:
    assert "no request was sent" in _climb(EMPTY, _summary(1))[1]
