from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.bench.workload.lengths import Lengths
from sgl_jax.bench.workload.words import made_up_text


@pytest.mark.parametrize("text", ["512", "uniform:100:1000", "lognormal:512:0.5"])
def test_lengths_are_written_as_they_are_read(text: str) -> None:
    assert str(Lengths.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "-5", "1.5", "many", "nan", "inf", "99999999", "uniform:5", "uniform:9:5", "uniform:1:2:3"),
        *("lognormal:0:1", "lognormal:5:nan", "x:5:6"),
    ],
)
def test_what_is_no_length_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no length: write 512, uniform"):
        Lengths.parse(text)


@given(seed=st.integers(), low=st.integers(1, 50), more=st.integers(0, 50))
def test_uniform_lengths_stay_within_their_bounds(seed: int, low: int, more: int) -> None:
    lengths = Lengths.parse(f"uniform:{low}:{low + more}")
    rng = random.Random(seed)
    assert all(low <= lengths.draw(rng) <= low + more for _ in range(20))


def test_lognormal_lengths_have_their_median_and_spread() -> None:
    rng = random.Random(0)
    drawn = [Lengths.parse("lognormal:1000:0.5").draw(rng) for _ in range(4000)]
    assert statistics.median(drawn) == pytest.approx(1000, rel=0.05)
    between = sum(607 <= each <= 1649 for each in drawn) / len(drawn)  # one standard deviation to both sides
    assert between == pytest.approx(0.683, abs=0.03)


def test_fixed_lengths_are_fixed() -> None:
    assert [Lengths.parse("7").draw(random.Random(0)) for _ in range(3)] == [7, 7, 7]


@given(tokens=st.integers(1, 300))
def test_made_up_text_has_as_many_words_as_tokens(tokens: int) -> None:
    assert len(made_up_text(random.Random(0), tokens).split()) == tokens
