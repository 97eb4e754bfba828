"""`sgl-jax-bench run` against the live server, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
