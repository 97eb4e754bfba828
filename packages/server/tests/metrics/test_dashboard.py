"""The Grafana dashboard, the alerts and the guide name metrics that exist, and leave none out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from sgl_jax.server.metrics.catalog import CATALOG, Kind

ROOT = Path(__file__).parents[4]
SUFFIXES: dict[Kind, tuple[str, ...]] = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket",)}
SAMPLES = {metric.name + suffix: metric for metric in CATALOG for suffix in SUFFIXES[metric.kind]}
UNSEEN = {
    "sglang:cache_hit_rate",  # since the start; the dashboard shows that of now
    "sglang:gen_throughput",  # likewise
    "sglang:max_total_num_tokens",
    "sglang:num_aborted_requests",  # one of the outcomes
    "sglang:num_requests",
    "sglang:num_used_tokens",  # the share says more
}
"""What the dashboard shows in another form."""


def expressions(value: Any) -> list[str]:
    """All PromQL in a document."""
    if isinstance(value, dict):
        own = [text for name, text in value.items() if name in ("expr", "query") and isinstance(text, str)]
        return own + [text for inner in value.values() for text in expressions(inner)]
    return [text for inner in value for text in expressions(inner)] if isinstance(value, list) else []


def dashboard() -> Any:
    return json.loads((ROOT / "deploy/grafana/sgl-jax.json").read_text())


def alerts() -> Any:
    return yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())


def named(texts: list[str]) -> set[str]:
    return set(re.findall(r"\b(?:sglang:|sgl_jax_)\w+", " ".join(texts)))


def test_dashboard_and_alerts_name_what_there_is() -> None:
    shown = named(expressions(dashboard()))
    assert shown <= set(SAMPLES)
    assert named(expressions(alerts())) <= set(SAMPLES)
    assert {SAMPLES[sample].name for sample in shown} == {metric.name for metric in CATALOG} - UNSEEN


def test_labels_that_are_grouped_by_exist() -> None:
    for text in [*expressions(dashboard()), *expressions(alerts())]:
        known = {"le", "instance", "model_name"}.union(*(SAMPLES[name].labels for name in named([text])))
        for labels in re.findall(r"by \(([^)]*)\)", text):
            assert set(labels.split(", ")) <= known, text


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_the_guide_lists_every_metric() -> None:
    guide = (ROOT / "docs/guides/deploy.md").read_text()
    rows = re.findall(r"^\| `([\w:]+)` \| (\w+) \|", guide, flags=re.MULTILINE)
    assert dict(rows) == {
        metric.name + ("_total" if metric.kind == "counter" else ""): metric.kind for metric in CATALOG
    }


def test_prometheus_reads_where_the_metrics_are() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    assert f'job="{job["job_name"]}"' in " ".join(expressions(alerts()))
    assert config["rule_files"] == ["alerts.yml"]
