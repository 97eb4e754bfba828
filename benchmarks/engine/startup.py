"""Seconds from `python -m sgl_jax.launch_server` to ready, SmolLM2 on CPU: cold and warm compile cache, three each."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request


def seconds_to_ready(cache: str) -> float:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = [sys.executable, "-m", "sgl_jax.launch_server", "--device=cpu", f"--port={port}"]
    environ = {**os.environ, "SGL_JAX_CACHE_DIR": cache}
    begin = time.perf_counter()
    server = subprocess.Popen(program, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() - begin < 300:
            time.sleep(0.05)
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                    if answer.status == 200:
                        return time.perf_counter() - begin
            except OSError:
                continue
        raise TimeoutError("the server was not ready after 300 s")
    finally:
        server.terminate()
        server.wait(30)


def run() -> list[dict[str, object]]:
    cold, warm = [], []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(seconds_to_ready(cache))
            warm.append(seconds_to_ready(cache))
    ratio = statistics.median(second / first for first, second in zip(cold, warm, strict=True))
    return [
        {"start": "cold", "median s": round(statistics.median(cold), 1), "ratio to cold": 1.0},
        {"start": "warm", "median s": round(statistics.median(warm), 1), "ratio to cold": round(ratio, 3)},
    ]
