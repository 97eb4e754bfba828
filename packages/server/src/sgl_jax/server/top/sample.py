"""What a server says of itself at one moment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

Buckets = Mapping[float, float]
"""Upper bound -> how many values up to it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer of `/metrics`.

    Attributes:
        at: clock when it came, in seconds.
        model: the served model's name.
        values: sums over all labels, by sample name.
        labelled: the same by the value of a metric's only own label.
        buckets: of histograms.
    """

    at: float
    model: str = ""
    values: dict[str, float] = field(default_factory=dict)
    labelled: dict[str, dict[str, float]] = field(default_factory=dict)
    buckets: dict[str, dict[float, float]] = field(default_factory=dict)

    def get(self, name: str) -> float | None:
        """A value, or None when the server has none now."""
        return self.values.get(name)


def parse(text: str, at: float) -> Sample:
    """Reads the text format. Raises `ValueError` for anything else."""
    model = ""
    values: dict[str, float] = {}
    labelled: dict[str, dict[str, float]] = {}
    buckets: dict[str, dict[float, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            model = labels.pop("model_name", model)
            if sample.name.endswith("_bucket"):
                buckets.setdefault(family.name, {})[float(labels["le"])] = sample.value
                continue
            values[sample.name] = values.get(sample.name, 0.0) + sample.value
            if len(labels) == 1:
                labelled.setdefault(sample.name, {})[next(iter(labels.values()))] = sample.value
    return Sample(at, model, values, labelled, buckets)


def quantile(share: float, before: Buckets, after: Buckets) -> float | None:
    """Estimates below which value a share of those lies that came between two samples; None when none came.

    Linear within a bucket, as Prometheus does it; what lies beyond the last bound counts as that bound.
    """
    counts = [(bound, count - before.get(bound, 0.0)) for bound, count in sorted(after.items())]
    total = counts[-1][1] if counts else 0.0
    if total <= 0:
        return None
    wanted, low, below = share * total, 0.0, 0.0
    for bound, count in counts:
        if count >= wanted:
            if math.isinf(bound):
                return low
            return low + (bound - low) * ((wanted - below) / (count - below) if count > below else 1.0)
        low, below = bound, count
    return low
