"""The user guide's three launch commands, on the CPU and with the model that is at hand."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from sgl_jax.engine.config.default_model import find_default_model

pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.timeout(900)]

COMMAND = """
    --model-path {model}
    --trust-remote-code
    --dist-init-addr=0.0.0.0:10011
    --nnodes=1
    --tp-size=1
    --xla-backend=native
    --attention-backend=native
    --device=cpu
    --random-seed=3
    --node-rank=0
    {tuning}
    --download-dir=/tmp
    --dtype=bfloat16
    --skip-server-warmup
    --host 0.0.0.0
    --port 30000
"""


@pytest.mark.parametrize(
    "tuning",
    [
        "--mem-fraction-static=0.8 --max-prefill-tokens=8192",
        "--mem-fraction-static=0.6 --max-prefill-tokens=4096 --max-running-requests=50",
        "--mem-fraction-static=0.9 --max-prefill-tokens=16384 --max-running-requests=200",
    ],
    ids=["basic", "memory-optimised", "high-performance"],
)
def test_the_guides_command_serves(
    serve: Callable[..., Any],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    tuning: str,
) -> None:
    # Not the user's cache folder; one for all three, because compiling is what takes long here.
    monkeypatch.setenv("SGL_JAX_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "compiled"))
    model = tmp_path / "qwen06b.gguf"
    model.symlink_to(str(find_default_model()))
    # The test's server adds --port=0 at the end, so that nobody's port 30000 is in the way.
    server = serve(*shlex.split(COMMAND.format(model=model, tuning=tuning)))
    url = server.wait_ready()
    asked = {
        "model": "qwen06b",
        "messages": [{"role": "user", "content": "Hello!"}],
        "max_tokens": 4,
        "temperature": 0.7,
        "stream": False,
    }
    answer = httpx.post(f"{url}/v1/chat/completions", json=asked, timeout=600)
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"]
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert server.worker_is_gone()
