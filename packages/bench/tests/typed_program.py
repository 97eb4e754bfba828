"""A user's program, which `tools/wheel_smoke.py` has mypy check in strict mode. It is never run.

`type: ignore[...]` marks what must be refused: strict mode complains of an ignore that hides nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

from sgl_jax.bench import (
    BenchError,
    Comparison,
    MockBehaviour,
    MockServer,
    Results,
    Slo,
    Summary,
    closed_loop,
    compare,
    mock_server,
    open_loop,
)


def measure(url: str) -> Comparison:
    before = closed_loop(url, concurrent=8, requests=40, workload=["questions", "structured"], slo=Slo(ttft=0.5))
    assert_type(before, Results)
    after = open_loop(url, rate=20.0, duration=1.0, arrivals="poisson", seed=1, progress=True)
    assert_type(after.summary, Summary)
    assert_type(after.summary.tokens_per_second, float)
    if after.summary.ttft is not None:
        assert_type(after.summary.ttft.percentiles["p99"], float)
    after.write(Path("after.json"))
    comparison = compare([Results.read(Path("before.json")), before], after, fail_if=["ttft_p50 > +10%"])
    assert_type(comparison, Comparison)
    assert_type(comparison.ok, bool)
    assert_type(comparison.to_markdown(), str)
    return comparison


closed_loop("http://h", concurrency=8)  # type: ignore[call-arg]
open_loop("http://h", arrivals="now and then")  # type: ignore[arg-type]

with mock_server(MockBehaviour(ttft=0.01)) as server:
    assert_type(server, MockServer)
    assert_type(server.url, str)
    try:
        measure(server.url)
    except BenchError as error:
        print(error)
