from __future__ import annotations

import bisect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.engine.messages import EngineInfo
from sgl_jax.engine.stats import EngineStats
from sgl_jax.server.metrics.catalog import Snapshot
from sgl_jax.server.metrics.counters import Counters
from sgl_jax.server.metrics.exposition import Exposition
from sgl_jax.server.metrics.histogram import Histogram
from sgl_jax.server.top.sample import Sample, parse, quantile
from sgl_jax.server.top.screen import number, spark
from sgl_jax.server.top.window import LATENCIES, Window

INFO = EngineInfo(
    model_path="/m",
    architecture="A",
    vocab_size=10,
    max_model_len=100,
    max_total_tokens=1000,
    max_running_requests=4,
    eos_token_ids=[],
    dtype="float32",
    device="fake",
)


def sample(at: float, counters: Counters, stats: EngineStats | None) -> Sample:
    """What the real exposition says, read back."""
    snapshot = Snapshot(
        counters=counters, stats=stats, info=INFO, ready=stats is not None, restarts=1, tokens_per_second=0.0
    )
    text, _ = Exposition("my-model").render(snapshot, "")
    return parse(text.decode(), at)


def test_rates_shares_and_latencies_are_those_in_between() -> None:
    counters = Counters()
    counters.first_token.observe(100.0)
    before = sample(10.0, counters, EngineStats(generated_tokens_total=100, prompt_tokens_total=10, pages_total=8))
    counters.first_token.observe(0.03, times=100)
    stats = EngineStats(
        generated_tokens_total=300, prompt_tokens_total=110, cached_tokens_total=25, steps_total=50, pages_total=8,
        pages_free=6, running=3,
    )  # fmt: skip
    window = Window(before, sample(12.0, counters, stats))
    assert window.last.model == "my-model"
    assert window.rate("sglang:generation_tokens_total") == 100.0
    assert window.share("sglang:cached_tokens_total", "sglang:prompt_tokens_total") == 0.25
    assert window.share("sglang:generation_tokens_total", "sgl_jax_steps_total") == 4.0
    assert window.value("sglang:token_usage") == 0.25
    assert window.value("sglang:num_running_reqs") == 3
    assert all(one is not None and 0.025 < one <= 0.05 for one in window.latencies(LATENCIES["first token"]))
    assert window.latencies(LATENCIES["queue"]) == [None, None, None]


def test_a_restarted_engine_and_one_that_is_gone() -> None:
    before = sample(0.0, Counters(), EngineStats(generated_tokens_total=100))
    again = sample(1.0, Counters(), EngineStats(generated_tokens_total=30))
    assert Window(before, again).rate("sglang:generation_tokens_total") == 30.0
    gone = sample(1.0, Counters(), None)
    assert Window(before, gone).rate("sglang:generation_tokens_total") is None
    assert Window(gone, again).rate("sglang:generation_tokens_total") is None
    assert Window(before, gone).value("sgl_jax_ready") == 0


def test_one_sample_has_no_rates() -> None:
    only = sample(0.0, Counters(), EngineStats())
    assert Window(only, only).rate("sglang:generation_tokens_total") is None


BOUNDS = (1.0, 2.0, 4.0, 8.0)


@given(
    st.lists(st.floats(0, 7.9)), st.lists(st.floats(0.1, 7.9), min_size=1), st.floats(0.01, 1.0)
)  # fmt: skip
def test_a_quantile_lies_in_the_right_bucket(old: list[float], new: list[float], share: float) -> None:
    histogram = Histogram(BOUNDS)
    for value in old:
        histogram.observe(value)
    before = dict(histogram.cumulative())
    for value in new:
        histogram.observe(value)
    found = quantile(share, before, dict(histogram.cumulative()))
    assert found is not None
    # The exact one is the first value that a share of them does not exceed.
    exact = next(value for place, value in enumerate(sorted(new), start=1) if place >= share * len(new) - 1e-9)
    assert bisect.bisect_left(BOUNDS, found) == bisect.bisect_left(BOUNDS, exact)


def test_quantiles_at_the_edges() -> None:
    empty = dict(Histogram(BOUNDS).cumulative())
    assert quantile(0.5, empty, empty) is None
    assert quantile(0.5, {}, {}) is None
    beyond = Histogram(BOUNDS)
    beyond.observe(100.0)
    assert quantile(0.5, empty, dict(beyond.cumulative())) == 8.0


def test_what_is_no_metrics_is_refused() -> None:
    with pytest.raises(ValueError, match="<html>"):
        parse("<html>", 0.0)


def test_bars_and_numbers() -> None:
    assert spark([0, 1, 2, 4]) == " ▂▄█"
    assert spark([]) == ""
    assert spark([0.0]) == " "
    assert (number(None), number(1234.5), number(0.05, 1)) == ("–", "1,234", "0.1")
