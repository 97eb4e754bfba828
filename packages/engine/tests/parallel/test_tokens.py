"""Engines on several devices say what an engine on one says: a few cases of `tools/spread_bar.py`, which has all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CASES = ("llama:8", "qwen3-moe:2", "deepseek-v3:4")
"""Key heads that devices have to share, experts, and a latent cache."""
ROOT = Path(__file__).resolve().parents[4]


def test_tokens_and_logprobs_do_not_depend_on_the_number_of_devices() -> None:
    program = [sys.executable, "-m", "tools.spread_bar", "--brief", *CASES]
    finished = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert [line.split()[0] for line in finished.stdout.splitlines()] == ["ok"] * len(CASES)
