"""`GET /metrics`, parsed: Prometheus' text format, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

# A label's value may hold any character, `}` and `,` among them; quotes, backslashes and line ends are escaped.
_LABEL = r'[A-Za-z_]\w*\s*=\s*"(?:[^"\\]|\\.)*"'
_SAMPLE = re.compile(
    rf"([A-Za-z_:][\w:]*)\s*(?:\{{\s*((?:{_LABEL}\s*,?\s*)*)\}}\s*|\s)\s*(\S+)(?:\s+-?\d+)?\s*", re.ASCII
)
_PAIR = re.compile(r'([A-Za-z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"', re.ASCII)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class MetricSample:
    """One number: `name` and `labels` say what it is. A histogram is many samples (`_bucket`, `_sum`, `_count`)."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metrics:
    """A server's metrics at one moment; iterating gives the samples one by one.

        metrics = client.admin.metrics()
        print(metrics["sglang:num_running_reqs"], metrics.value("sgl_jax_sequences_total", outcome="stop"))

    Attributes:
        samples: in the order in which the server gave them.
        kinds: `counter`, `gauge`, `histogram` or `summary` of each metric family that says so.
        text: as the server sent it.
    """

    samples: tuple[MetricSample, ...]
    kinds: Mapping[str, str] = field(default_factory=dict, repr=False)
    text: str = field(default="", repr=False)

    def __iter__(self) -> Iterator[MetricSample]:
        return iter(self.samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __contains__(self, name: object) -> bool:
        return any(sample.name == name for sample in self.samples)

    def __getitem__(self, name: str) -> float:
        """The sum over the samples of this name. Raises `KeyError` where there is none."""
        value = self.value(name)
        if value is None:
            raise KeyError(name)
        return value

    def value(self, name: str, **labels: str) -> float | None:
        """The sum over the samples that have this name and these labels, whatever else; None where there is none."""
        found = [
            sample.value
            for sample in self.samples
            if sample.name == name and all(sample.labels.get(label) == text for label, text in labels.items())
        ]
        return sum(found) if found else None

    @classmethod
    def parse(cls, text: str) -> Metrics:
        """The metrics in a text. Raises `ValueError` for a line that is no part of the format."""
        samples: list[MetricSample] = []
        kinds: dict[str, str] = {}
        for number, line in enumerate(text.split("\n"), start=1):
            line = line.strip()
            if line.startswith("#"):
                words = line.split(maxsplit=3)
                if len(words) == 4 and words[1] == "TYPE":
                    kinds[words[2]] = words[3]
            elif line:
                samples.append(_sample(line, number))
        return cls(tuple(samples), kinds, text)


def _sample(line: str, number: int) -> MetricSample:
    match = _SAMPLE.fullmatch(line)
    if match is None:
        raise ValueError(f"line {number} is not of Prometheus' text format: {line[:200]!r}")
    name, labels, value = match.groups()
    found = {label: _ESCAPE.sub(_unescaped, text) for label, text in _PAIR.findall(labels or "")}
    return MetricSample(name, float(value), found)


def _unescaped(match: re.Match[str]) -> str:
    return {"n": "\n"}.get(match[1], match[1])
