"""What happened between two samples."""

from __future__ import annotations

from dataclasses import dataclass

from sgl_jax.server.top.sample import Sample, quantile

LATENCIES = {
    "queue": "sglang:queue_time_seconds",
    "first token": "sglang:time_to_first_token_seconds",
    "between tokens": "sglang:inter_token_latency_seconds",
    "whole request": "sglang:e2e_request_latency_seconds",
}
SHARES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Window:
    """Rates and latencies between two samples, and the state at the second.

    Args:
        first: the older one.
        last: the newer one; the same one when there is no other yet.
    """

    first: Sample
    last: Sample

    def rate(self, name: str) -> float | None:
        """How fast a counter rose, a second; from 0 when it began anew. None when it is not known."""
        before, after = self.first.get(name), self.last.get(name)
        seconds = self.last.at - self.first.at
        if after is None or before is None or seconds <= 0:
            return None
        return max(after - before if after >= before else after, 0.0) / seconds

    def share(self, part: str, whole: str) -> float | None:
        """One counter's rise over another's; None when the other did not rise."""
        risen, of = self.rate(part), self.rate(whole)
        return risen / of if risen is not None and of else None

    def latencies(self, name: str) -> list[float | None]:
        """The `SHARES` of a histogram's values, in seconds."""
        before, after = self.first.buckets.get(name, {}), self.last.buckets.get(name, {})
        return [quantile(share, before, after) for share in SHARES]

    def value(self, name: str) -> float | None:
        """A gauge now."""
        return self.last.get(name)
