"""The user guide's three launch commands, on the CPU and with a tiny model under the guide's name."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from sgl_jax.engine.execution.device_env import kernels_folder

pytestmark = pytest.mark.slow

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


TUNING = {
    "basic": "--mem-fraction-static=0.8 --max-prefill-tokens=8192",
    "memory-optimised": "--mem-fraction-static=0.6 --max-prefill-tokens=4096 --max-running-requests=50",
    "high-performance": "--mem-fraction-static=0.9 --max-prefill-tokens=16384 --max-running-requests=200",
}


@pytest.fixture(scope="module")
def servers(
    serve_for_all: Callable[..., Any], tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """All three at once: starting is what takes long, and most of it uses one core."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SGL_JAX_KERNELS_DIR", str(kernels_folder()))  # compiled once for all tests
        patch.setenv("SGL_JAX_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))  # not the user's
        # The test's servers add --port=0 at the end, so that nobody's port 30000 is in the way.
        return {
            name: serve_for_all(*shlex.split(COMMAND.format(model=tiny_model, tuning=tuning)))
            for name, tuning in TUNING.items()
        }


@pytest.mark.parametrize("name", TUNING)
def test_the_guides_command_serves(servers: dict[str, Any], name: str) -> None:
    server = servers[name]
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
    assert 1 <= answer.json()["usage"]["completion_tokens"] <= 4
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert server.worker_is_gone()
