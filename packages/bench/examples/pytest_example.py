"""Latency as a test. Copy it to `test_latency.py`; it measures the server at $SGL_JAX_BASE_URL.

The first test holds a server to its objectives. The second compares it with results that were kept; where there are
none it keeps these. Delete the folder `baseline` to start anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sgl_jax.bench import Results, closed_loop, compare

URL = os.environ.get("SGL_JAX_BASE_URL", "http://localhost:30000")
BASELINE = Path("baseline")


def measure(seed: int) -> Results:
    """One run; the seed makes its prompts."""
    return closed_loop(
        URL,
        concurrent=4,
        requests=40,
        workload="synthetic,input=64,output=16",
        ignore_eos=True,
        temperature=0.0,
        seed=seed,
        warmup=4,
        slo="ttft:500ms,itl:100ms",
    )


@pytest.fixture(scope="module")
def results() -> list[Results]:
    """Three runs, so that what differs from run to run can be told from what changed."""
    return [measure(seed) for seed in range(3)]


def test_objectives_are_kept(results: list[Results]) -> None:
    """Nearly every request is answered within its limits."""
    for run in results:
        assert run.summary.failed_requests == 0, run.summary.first_failure
        assert run.summary.goodput is not None
        assert run.summary.goodput.share >= 95.0


def test_nothing_got_slower(results: list[Results]) -> None:
    """No difference beyond the limits was found between what was kept and what is."""
    kept = sorted(BASELINE.glob("*.json"))
    if not kept:
        BASELINE.mkdir(exist_ok=True)
        for number, run in enumerate(results):
            run.write(BASELINE / f"{number}.json")
        pytest.skip("there was no baseline: these results are kept as one")
    comparison = compare([Results.read(path) for path in kept], results, fail_if=["ttft_p50 > +10%", "itl_p50 > +10%"])
    assert comparison.ok, comparison.to_markdown()
