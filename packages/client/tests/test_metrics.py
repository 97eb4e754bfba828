"""Prometheus' text format, read back."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.client.types import Metrics, MetricSample

TEXT = r"""# HELP requests_total Requests, by "code".
# TYPE requests_total counter
requests_total{model_name="tiny",code="200"} 7
requests_total{model_name="tiny",code="429",} 2.0 1700000000000

# TYPE ttft histogram
ttft_bucket{le="+Inf"} 3
ttft_sum 1.5e-1
odd{path="a\\b\"}\n{x=\"1\"}, y"} NaN
low -Inf
"""


def test_samples_have_names_labels_and_values():
    metrics = Metrics.parse(TEXT)
    assert metrics.kinds == {"requests_total": "counter", "ttft": "histogram"}
    assert metrics.samples[:2] == (
        MetricSample("requests_total", 7, {"model_name": "tiny", "code": "200"}),
        MetricSample("requests_total", 2, {"model_name": "tiny", "code": "429"}),
    )
    assert [sample.name for sample in metrics][2:] == ["ttft_bucket", "ttft_sum", "odd", "low"]
    odd = metrics.samples[4]
    assert odd.labels == {"path": 'a\\b"}\n{x="1"}, y'}
    assert math.isnan(odd.value)
    assert metrics["low"] == -math.inf
    assert (len(metrics), metrics.text) == (6, TEXT)


def test_values_are_found_by_name_and_labels():
    metrics = Metrics.parse(TEXT)
    assert metrics["requests_total"] == metrics.value("requests_total", model_name="tiny") == 9
    assert metrics.value("requests_total", code="429") == 2
    assert metrics.value("requests_total", code="500") is metrics.value("no_such") is None
    assert "ttft_sum" in metrics
    assert "ttft" not in metrics
    with pytest.raises(KeyError, match="no_such"):
        metrics["no_such"]


@pytest.mark.parametrize("line", ["<html>", "a", 'a{b="c} 1', "a 1 2 3", "a one", "{} 1", "a{b=c} 1"])
def test_what_is_no_sample_is_refused(line):
    with pytest.raises(ValueError, match=r"line 2|could not convert"):
        Metrics.parse(f"ok 1\n{line}\n")


@given(value=st.text(st.characters(blacklist_categories=["Cs"])))
def test_any_label_survives(value):
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    (sample,) = Metrics.parse(f'a{{b="{escaped}",c="x"}} 1')
    assert sample.labels == {"b": value, "c": "x"}


@given(text=st.text())
def test_any_text_is_metrics_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        Metrics.parse(text)
