from __future__ import annotations

import pytest

from sgl_jax.bench.comparison.measures import DEFAULT_MEASURES, Measure
from sgl_jax.bench.comparison.thresholds import Threshold
from sgl_jax.bench.errors import ThresholdError


@pytest.mark.parametrize(
    ("text", "name", "direction", "change"),
    [
        ("ttft_p99 > +10%", "ttft_p99", ">", 0.1),
        ("ttft_p99.9>10%", "ttft_p99.9", ">", 0.1),
        ("  tokens_per_second  <  -2.5 % ", "tokens_per_second", "<", -0.025),
        ("goodput < 5%", "goodput", "<", -0.05),
        ("queue_wait_mean > +0%", "queue_wait_mean", ">", 0.0),
    ],
)
def test_limits_are_read(text: str, name: str, direction: str, change: float) -> None:
    threshold = Threshold.parse(text)
    assert (threshold.measure.name, threshold.direction) == (name, direction)
    assert threshold.change == pytest.approx(change)
    assert Threshold.parse(str(threshold)) == threshold


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not understood: write MEASURE > +PERCENT%"),
        ("ttft_p99", "is not understood"),
        ("ttft_p99 >= 10%", "is not understood"),
        ("ttft_p99 > ten%", "is not understood"),
        ("ttft_p99 > 10%, itl_p99 > 10%", "is not understood"),
        ("ttft_p99 > +10", "changes are in percent"),
        ("ttft_p99 > -10%", "'>' limits a rise"),
        ("tokens_per_second < +5%", "'<' a fall"),
        ("ttft_p98 > 10%", "did you mean ttft_p99"),
        ("speed > 10%", "there is no measure 'speed'"),
    ],
)
def test_what_is_no_limit_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ThresholdError) as error:
        Threshold.parse(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "ratio", "broken"),
    [
        ("ttft_p99 > +10%", 1.11, True),
        ("ttft_p99 > +10%", 1.09, False),
        ("ttft_p99 > +10%", 0.5, False),
        ("tokens_per_second < -5%", 0.94, True),
        ("tokens_per_second < -5%", 0.96, False),
        ("tokens_per_second < -5%", 2.0, False),
    ],
)
def test_a_limit_is_broken_beyond_it(text: str, ratio: float, broken: bool) -> None:
    assert Threshold.parse(text).broken_by(ratio) is broken


def test_the_usual_measures_are_measures() -> None:
    assert [Measure.parse(name).name for name in DEFAULT_MEASURES] == list(DEFAULT_MEASURES)
    better_low = {name for name in DEFAULT_MEASURES if Measure.parse(name).lower_is_better}
    assert set(DEFAULT_MEASURES) - better_low == {"requests_per_second", "tokens_per_second", "goodput", "success_rate"}


@pytest.mark.parametrize(
    ("name", "needed"), [("ttft_mean", 1), ("ttft_p50", 2), ("ttft_p99", 100), ("itl_p99.9", 1000)]
)
def test_a_percentile_needs_a_value_beyond_it(name: str, needed: int) -> None:
    assert Measure.parse(name).values_needed == needed
