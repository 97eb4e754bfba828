"""What the mock says of itself: at `/get_server_info` as SGL-JAX does, and at `/metrics` for Prometheus."""

from __future__ import annotations

from dataclasses import asdict, dataclass

_PAGES = 1000
_PAGES_A_REQUEST = 10


@dataclass(slots=True)
class MockStats:
    """Gauges and counters. Requests are real; each of those that run is said to hold ten pages of a KV cache."""

    running: int = 0
    waiting: int = 0
    finished_total: int = 0
    prompt_tokens_total: int = 0
    cached_tokens_total: int = 0
    generated_tokens_total: int = 0

    def to_json(self) -> dict[str, int]:
        """Return the numbers under SGL-JAX's names."""
        return {**asdict(self), "pages_total": _PAGES, "pages_free": max(0, _PAGES - _PAGES_A_REQUEST * self.running)}

    def to_prometheus(self) -> str:
        """Return the numbers in Prometheus' text format."""
        kinds = {True: "counter", False: "gauge"}
        return "".join(
            f"# TYPE mock_{name} {kinds[name.endswith('_total')]}\nmock_{name} {value}\n"
            for name, value in self.to_json().items()
        )
