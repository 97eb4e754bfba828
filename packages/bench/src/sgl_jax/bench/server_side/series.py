"""The server's own numbers over a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from sgl_jax.bench.distribution import Distribution
from sgl_jax.bench.server_side.sample import ServerSample


@dataclass(frozen=True, slots=True)
class ServerSeries:
    """Samples in the order in which they were taken; empty where the server says nothing."""

    samples: tuple[ServerSample, ...] = ()

    def gauge(self, name: str) -> Distribution | None:
        """Return the values of `running`, `waiting`, `kv_use` or `batch_size` over the run."""
        return Distribution.of(getattr(sample, name) for sample in self.samples)

    def grown(self, name: str) -> float | None:
        """Return by how much a counter grew during the run; None where it is unknown, or the server was restarted."""
        values = [value for sample in self.samples if (value := getattr(sample, name)) is not None]
        return values[-1] - values[0] if len(values) > 1 and values[-1] >= values[0] else None

    @property
    def hit_rate(self) -> float | None:
        """Share of the run's prompt tokens that came from the prefix cache, 0 to 1."""
        return _ratio(self.grown("cached_tokens"), self.grown("prompt_tokens"))

    @property
    def mean_queue_wait(self) -> float | None:
        """Seconds that a request waited for its turn, on average."""
        return _ratio(self.grown("queue_seconds"), self.grown("queue_count"))

    def to_json(self) -> list[dict[str, float]]:
        """Return the samples as plain JSON values."""
        return [sample.to_json() for sample in self.samples]

    @classmethod
    def from_json(cls, values: Sequence[dict[str, Any]]) -> Self:
        """Return the series that `to_json` wrote.

        Raises:
            TypeError: `values` are something else.
        """
        return cls(tuple(ServerSample(**value) for value in values))


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None
