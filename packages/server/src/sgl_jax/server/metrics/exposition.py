"""A snapshot in Prometheus's formats."""

from __future__ import annotations

import math
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family

from sgl_jax.server.metrics.catalog import CATALOG, Metric, Snapshot
from sgl_jax.server.metrics.histogram import Histogram


class Exposition:
    """Writes snapshots, together with what the system says of this process (CPU, memory, open files).

    Has a registry of its own: what other libraries of this process register elsewhere is their business.
    """

    def __init__(self, model_name: str) -> None:
        self._model_name = model_name
        self._snapshot: Snapshot | None = None
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def render(self, snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
        """The snapshot in the format that the `Accept` header asks for, and its content type."""
        self._snapshot = snapshot
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Family]:
        """The families of the snapshot being rendered; prometheus-client calls it."""
        if self._snapshot is None:
            return
        for metric in CATALOG:
            if (family := _family(metric, self._snapshot, self._model_name)) is not None:
                yield family


def _family(metric: Metric, snapshot: Snapshot, model_name: str) -> Family | None:
    value = metric.read(snapshot)
    labels = ("model_name", *metric.labels)
    if value is None:
        return None
    if isinstance(value, Histogram):
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=labels)
        buckets = [("+Inf" if bound == math.inf else str(float(bound)), count) for bound, count in value.cumulative()]
        histogram.add_metric([model_name], buckets, value.sum)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=labels)
    by_label = value if not isinstance(value, int | float) else {(): value}
    for names, one in by_label.items():
        family.add_metric([model_name, *names], one)
    return family
