from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.server.metrics.histogram import Histogram


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=5, unique=True).map(sorted),
    st.lists(st.tuples(st.floats(0, 200), st.integers(1, 5))),
)
def test_each_bound_has_the_values_up_to_it(bounds: list[float], values: list[tuple[float, int]]) -> None:
    histogram = Histogram(bounds)
    for value, times in values:
        histogram.observe(value, times)
    for bound, count in histogram.cumulative():
        assert count == sum(times for value, times in values if value <= bound)
    assert [bound for bound, _ in histogram.cumulative()] == [*bounds, math.inf]
    assert histogram.count == sum(times for _, times in values)
    assert math.isclose(histogram.sum, sum(value * times for value, times in values))
