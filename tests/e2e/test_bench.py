"""The bench against the live server, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sgl_jax.bench import closed_loop
from tests.e2e.server_process import PATIENCE

pytestmark = pytest.mark.model


def test_bench_run(url: str, model: str, stats: Callable[[], dict[str, Any]], tmp_path: Path) -> None:
    before = stats()["generated_tokens_total"]
    output = tmp_path / "results.json"
    command = [
        *(str(Path(sys.executable).with_name("sgl-jax-bench")), "run", "--url", url, "--output", str(output)),
        *("--concurrent", "4", "--requests", "8", "--max-tokens", "6", "--seed", "1"),
        *("--temperature", "0", "--ignore-eos"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert "Total Requests: 8" in done.stdout
    assert "Success Rate: 100.00%" in done.stdout
    assert "Total Tokens Generated: 48" in done.stdout
    assert "8/8 requests" in done.stderr
    summary = json.loads(output.read_text(encoding="utf-8"))["summary"]
    assert summary["total_tokens_generated"] == 48
    assert 0 < summary["ttft"]["min"] <= summary["ttft"]["max"] <= summary["e2e"]["max"]
    assert stats()["generated_tokens_total"] - before >= 48, "what it counted, the engine did"
    assert model in done.stderr


def test_bench_reports_what_the_server_says_of_itself(url: str) -> None:
    results = closed_loop(
        url,
        concurrent=2,
        requests=4,
        workload="shared-prefix,groups=1,prefix=96,input=8,output=4",
        temperature=0.0,
        ignore_eos=True,
        seed=2,
        scrape=0.1,
    )
    assert results.summary.failed_requests == 0, results.summary.first_failure
    assert results.summary.total_tokens_generated == 16
    assert results.provenance["server"]["info"]["engine"]
    kv_use, running = results.server_side.gauge("kv_use"), results.server_side.gauge("running")
    assert kv_use is not None
    assert running is not None
    assert 0.0 <= kv_use.min <= kv_use.max <= 1.0
    # Three of four requests find the prefix of about 96 tokens, less at most a page.
    assert results.server_side.hit_rate is not None
    assert 0.3 < results.server_side.hit_rate < 1.0
