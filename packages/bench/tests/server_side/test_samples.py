from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.bench.server_side.prometheus import parse_metrics
from sgl_jax.bench.server_side.sample import ServerSample
from sgl_jax.bench.server_side.series import ServerSeries

VLLM = """
# HELP vllm:num_requests_running Number of requests
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a{b},\\"c"} 3.0
vllm:num_requests_running{engine="1",model_name="x"} 2.0
vllm:num_requests_waiting{engine="0"} 7
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:prompt_tokens_total{engine="0"} 1.5e+3 1700000000
vllm:prefix_cache_hits_total{engine="0"} 500
vllm:request_queue_time_seconds_sum{engine="0"} 4.5
vllm:request_queue_time_seconds_count{engine="0"} 9
vllm:e2e_request_latency_seconds_bucket{le="+Inf"} NaN
nonsense
"""

SGLANG = """
sglang:num_running_reqs{model_name="m"} 4
sglang:num_queue_reqs{model_name="m"} 1
sglang:token_usage{model_name="m"} 0.5
sglang:cached_tokens_total{model_name="m"} 10
sglang:prompt_tokens_total{model_name="m"} 40
"""


def test_metrics_are_summed_over_their_labels() -> None:
    values = parse_metrics(VLLM)
    assert values["vllm:num_requests_running"] == 5.0
    assert values["vllm:prompt_tokens_total"] == 1500.0
    assert "vllm:e2e_request_latency_seconds_bucket" not in values
    assert "nonsense" not in values


@given(st.text())
def test_any_text_is_read_or_skipped(text: str) -> None:
    parse_metrics(text)


def test_vllm_and_sglang_name_the_same_things() -> None:
    vllm = ServerSample.of(1.0, None, parse_metrics(VLLM))
    sglang = ServerSample.of(1.0, None, parse_metrics(SGLANG))
    assert (vllm.running, vllm.waiting, vllm.kv_use, vllm.batch_size) == (5.0, 7.0, 0.25, 5.0)
    assert (vllm.cached_tokens, vllm.queue_seconds, vllm.queue_count) == (500.0, 4.5, 9.0)
    assert (sglang.running, sglang.waiting, sglang.kv_use, sglang.cached_tokens) == (4.0, 1.0, 0.5, 10.0)


def test_our_own_counters_go_before_metrics() -> None:
    stats = {"running": 2, "waiting": 0, "pages_total": 200, "pages_free": 150, "preempted_total": 1, "name": "x"}
    sample = ServerSample.of(
        1.0, {"stats": stats}, {"sgl_jax_num_requests_running": 9.0, "queue_time_seconds_sum": 2.0}
    )
    assert (sample.running, sample.waiting, sample.kv_use) == (2.0, 0.0, 0.25)
    assert (sample.preempted, sample.queue_seconds) == (1.0, 2.0)


@pytest.mark.parametrize("info", [None, {}, {"stats": None}, {"stats": {}}])
def test_a_server_that_says_nothing_gives_an_empty_sample(info: dict[str, object] | None) -> None:
    assert ServerSample.of(1.0, info, None).empty
    assert ServerSample.of(1.0, info, {"python_gc_total": 1.0}).empty


def test_a_series_tells_what_happened_during_the_run() -> None:
    series = ServerSeries(
        (
            ServerSample(0.0, running=0.0, kv_use=0.0, prompt_tokens=100.0, cached_tokens=50.0),
            ServerSample(1.0, running=4.0, kv_use=0.5, queue_seconds=1.0, queue_count=2.0),
            ServerSample(
                2.0, running=2.0, prompt_tokens=300.0, cached_tokens=100.0, queue_seconds=3.0, queue_count=6.0
            ),
        )
    )
    running = series.gauge("running")
    assert running is not None
    assert (running.mean, running.max) == (2.0, 4.0)
    assert series.gauge("waiting") is None
    assert series.hit_rate == 0.25
    assert series.mean_queue_wait == 0.5
    assert series.grown("preempted") is None
    assert ServerSeries.from_json(json.loads(json.dumps(series.to_json()))) == series


def test_a_server_that_was_restarted_has_no_growth() -> None:
    series = ServerSeries((ServerSample(0.0, prompt_tokens=500.0), ServerSample(1.0, prompt_tokens=3.0)))
    assert series.grown("prompt_tokens") is None
    assert ServerSeries().hit_rate is None
