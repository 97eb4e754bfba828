"""Benchmarks of LLM servers over HTTP: `sgl-jax-bench` on the command line, and this from Python.

from sgl_jax.bench import closed_loop

results = closed_loop("http://localhost:30000", concurrent=8, requests=64)
assert results.frame()["ttft"].quantile(0.99) < 0.5
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgl_jax.bench.api import closed_loop, open_loop
    from sgl_jax.bench.comparison.compare import Comparison, compare
    from sgl_jax.bench.errors import BenchError
    from sgl_jax.bench.metrics import Summary
    from sgl_jax.bench.mock.behaviour import MockBehaviour
    from sgl_jax.bench.mock.server import MockServer
    from sgl_jax.bench.mock.thread import mock_server
    from sgl_jax.bench.results import Results
    from sgl_jax.bench.slo import Slo

_HOMES = {
    "BenchError": "errors",
    "Comparison": "comparison.compare",
    "MockBehaviour": "mock.behaviour",
    "MockServer": "mock.server",
    "Results": "results",
    "Slo": "slo",
    "Summary": "metrics",
    "closed_loop": "api",
    "compare": "comparison.compare",
    "mock_server": "mock.thread",
    "open_loop": "api",
}

__all__ = [
    "BenchError",
    "Comparison",
    "MockBehaviour",
    "MockServer",
    "Results",
    "Slo",
    "Summary",
    "closed_loop",
    "compare",
    "mock_server",
    "open_loop",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the command line's `--help` needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
