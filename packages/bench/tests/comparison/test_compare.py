from __future__ import annotations

from collections.abc import Callable, Sequence
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.bench.comparison.blocks import MIN_BLOCKS, BlockedRun, Histogram
from sgl_jax.bench.comparison.bootstrap import deviations
from sgl_jax.bench.comparison.compare import Comparison, Verdict, compare
from sgl_jax.bench.comparison.measures import DEFAULT_MEASURES, Measure
from sgl_jax.bench.errors import CompareError
from sgl_jax.bench.report.ci import github_commands, junit_xml
from sgl_jax.bench.results import Results
from sgl_jax.bench.slo import Slo

MakeRun = Callable[..., Results]


def _verdicts(comparison: Comparison) -> dict[str, Verdict]:
    return {row.measure.name: row.verdict for row in comparison.rows}


@pytest.fixture
def same(make_run: MakeRun) -> list[Results]:
    """Three runs of the same thing."""
    return [make_run(seed) for seed in range(3)]


@pytest.fixture
def slower(make_run: MakeRun) -> list[Results]:
    """Three runs in which decoding takes a half more."""
    return [make_run(seed, itl=0.015) for seed in range(3, 6)]


def test_a_run_compared_with_itself_shows_no_difference(same: Sequence[Results]) -> None:
    comparison = compare(same, same)
    assert set(_verdicts(comparison).values()) == {Verdict.SAME}
    assert all(row.interval is not None and row.interval.ratio == pytest.approx(1) for row in comparison.rows)
    assert comparison.ok
    assert "no difference found" in comparison.to_markdown()


def test_what_got_worse_fails_and_what_got_better_does_not(same: list[Results], slower: list[Results]) -> None:
    comparison = compare(same, slower)
    verdicts = _verdicts(comparison)
    assert verdicts["itl_p50"] == verdicts["tpot_mean"] == verdicts["tokens_per_second"] == Verdict.WORSE
    assert verdicts["ttft_p50"] == verdicts["success_rate"] == Verdict.SAME
    assert not comparison.ok
    again = compare(slower, same)
    assert _verdicts(again)["itl_p50"] == _verdicts(again)["tokens_per_second"] == Verdict.BETTER
    assert again.ok


def test_a_ratio_lies_in_its_interval(same: list[Results], slower: list[Results]) -> None:
    for row in compare(same, slower).rows:
        assert row.interval is not None
        assert row.interval.low <= row.interval.ratio <= row.interval.high
        assert row.interval.ratio == pytest.approx(row.new / row.baseline, rel=1e-3)


def test_the_same_files_give_the_same_intervals(same: list[Results], slower: list[Results]) -> None:
    assert compare(same, slower) == compare(same, slower)


def test_limits_decide_when_there_are_any(same: list[Results], slower: list[Results]) -> None:
    assert compare(same, slower, fail_if=["ttft_p50 > +10%"]).ok
    assert compare(same, slower, fail_if=["itl_p50 > +80%"]).ok, "found, but within the limit"
    broken = compare(same, slower, fail_if=["itl_p50 > +10%", "ttft_p50 > +1%"])
    assert [row.measure.name for row in broken.failures] == ["itl_p50"]


def test_noise_beyond_a_limit_does_not_break_it(make_run: MakeRun) -> None:
    """The change is beyond the limit, but the interval holds 1."""
    noisy = [make_run(seed, requests=20, ttft=0.1 + 0.03 * seed) for seed in range(2)]
    row = compare(noisy[0], noisy[1], fail_if=["ttft_p50 > +10%"], run_noise=0.2).rows[0]
    assert row.new / row.baseline > 1.1
    assert (row.verdict, row.broken) == (Verdict.SAME, False)


def test_runs_that_scatter_widen_the_interval(make_run: MakeRun, same: list[Results]) -> None:
    scattered = [make_run(seed, ttft=ttft) for seed, ttft in enumerate((0.07, 0.1, 0.14))]

    def width(side: list[Results]) -> float:
        interval = compare(side, side, measures=["ttft_p50"]).rows[0].interval
        assert interval is not None
        return interval.high - interval.low

    assert width(scattered) > 3 * width(same)


def test_failed_requests_are_a_difference(make_run: MakeRun, same: list[Results]) -> None:
    some = compare(same, [make_run(seed, failed=30) for seed in range(3)])
    assert _verdicts(some)["success_rate"] == Verdict.WORSE
    none_left = compare(same, [make_run(seed, failed=120) for seed in range(3)])
    assert set(_verdicts(none_left)) == {"requests_per_second", "tokens_per_second", "success_rate"}
    assert _verdicts(none_left)["success_rate"] == Verdict.WORSE
    assert none_left.to_markdown()


def test_an_open_loop_is_compared_too(make_run: MakeRun) -> None:
    sides = [[make_run(seed, kind="poisson", itl=itl) for seed in range(2)] for itl in (0.01, 0.02)]
    assert _verdicts(compare(*sides))["itl_p50"] == Verdict.WORSE


def test_goodput_is_compared_where_both_sides_have_objectives(make_run: MakeRun) -> None:
    slo = Slo(itl=0.0115)
    before, after = make_run(1, slo=slo), make_run(2, slo=slo, itl=0.014)
    assert _verdicts(compare(before, after))["goodput"] == Verdict.WORSE
    assert "goodput" not in _verdicts(compare(before, make_run(2)))


def test_few_requests_say_little(make_run: MakeRun) -> None:
    few = make_run(requests=30)
    verdicts = _verdicts(compare(few, few))
    assert verdicts["ttft_p99"] == Verdict.UNKNOWN
    assert verdicts["itl_p99"] == verdicts["ttft_p50"] == Verdict.SAME
    with pytest.raises(CompareError, match="ttft_p99 cannot be compared: it takes at least 100 values a side"):
        compare(few, few, fail_if=["ttft_p99 > +10%"])


def test_what_cannot_be_compared_is_said(make_run: MakeRun) -> None:
    without_usage = make_run(usage=False)
    assert "tpot_mean" not in _verdicts(compare(without_usage, without_usage))
    for arguments, message in (
        ({"measures": ["tpot_mean"]}, "not every run has a value"),
        ({"measures": ["speed"]}, "no measure 'speed'"),
        ({"fail_if": ["ttft_p50 > 1%", "ttft_p50 > 2%"]}, "two limits"),
    ):
        with pytest.raises(CompareError, match=message):
            compare(without_usage, without_usage, **arguments)  # type: ignore[arg-type]
    with pytest.raises(CompareError, match="at least one run"):
        compare([], without_usage)


def test_sides_that_were_measured_differently_are_noted(make_run: MakeRun) -> None:
    before, after = make_run(flags={"concurrent": 8, "url": "a"}), make_run(flags={"concurrent": 16, "url": "b"})
    comparison = compare(before, after)
    assert comparison.differences == ("--concurrent 8 / 16",)
    assert "The sides were not measured alike: --concurrent 8 / 16" in comparison.to_markdown().replace("\\", "")


def test_junit_has_a_case_for_each_limit(same: list[Results], slower: list[Results]) -> None:
    suite = ET.fromstring(junit_xml(compare(same, slower, fail_if=["itl_p50 > +10%", "ttft_p50 > +10%"])))
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failed == ["fails if itl_p50 > +10%"]


def test_junit_without_limits_has_a_case_for_each_measure(make_run: MakeRun) -> None:
    few = make_run(requests=30)
    suite = ET.fromstring(junit_xml(compare(few, few)))
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("10", "0", "2")


def test_github_gets_an_error_for_each_failure_or_a_notice(same: list[Results], slower: list[Results]) -> None:
    lines = list(github_commands(compare(same, slower, fail_if=["itl_p50 > +10%"])))
    assert len(lines) == 1
    assert lines[0].startswith("::error title=Benchmark%3A itl_p50::itl_p50 went from ")
    assert "+10%25" in lines[0]
    assert list(github_commands(compare(same, same))) == ["::notice title=Benchmark::no difference found"]


@given(st.lists(st.floats(0.001, 10), min_size=1, max_size=60, unique=True), st.integers(1, 6))
def test_a_histogram_of_few_values_knows_its_quantiles(values: list[float], blocks: int) -> None:
    ascending = np.sort(values)
    below = np.array(
        [[float(np.sum(np.array(values[b::blocks]) <= edge)) for edge in ascending] for b in range(blocks)]
    )
    histogram = Histogram(ascending, below)
    counts = histogram.counts(np.ones((1, blocks)))
    for share in (0.5, 0.9, 0.99):
        position = (len(ascending) - 1) * share
        low, high = ascending[max(int(position) - 1, 0)], ascending[min(int(position) + 2, len(ascending) - 1)]
        assert low <= histogram.quantiles(counts, share)[0] <= high


def test_blocks_are_long_enough_and_many_enough(make_run: MakeRun) -> None:
    assert len(BlockedRun(make_run(requests=10))) == 10
    assert len(BlockedRun(make_run(requests=60))) == MIN_BLOCKS
    many = BlockedRun(make_run(requests=1000))
    assert len(many) == 100
    assert many.requests.sum() == 1000


def test_draws_move_around_what_was_observed(make_run: MakeRun) -> None:
    measures = [Measure.parse(name) for name in DEFAULT_MEASURES if name != "goodput"]
    moved = deviations(BlockedRun(make_run()), measures, 400, np.random.default_rng(0))
    assert moved.shape == (len(measures), 400)
    # Within two standard deviations of zero on average, and by about what such requests scatter.
    assert (np.abs(moved.mean(axis=1)) <= 2 * moved.std(axis=1) + 1e-12).all()
    assert (moved.std(axis=1) < 0.05).all()
