"""256 clients stream at once from an engine that draws 2,000 tokens a second for them all together.

How much of a core does the web process take, and how long after its step does a token arrive? One reader thread
with plain sockets, on the same machine; the engine's device is made up, its process is real.
"""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from readers import CLOCK, Reader, Text, read_all

from sgl_jax.engine.config.default_model import find_default_model
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.text.load import load_tokenizer

STREAMS, TOKENS_PER_SECOND = 256, 2000
PACE = TOKENS_PER_SECOND / STREAMS
STEPS = 90
WARM = 10
"""Steps at either end that do not count for the processor: streams begin and end there."""
TICKS = os.sysconf("SC_CLK_TCK")

ROUTES: dict[str, tuple[dict[str, Any], Text]] = {
    "/v1/chat/completions": (
        {"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": STEPS},
        lambda event: "".join(choice["delta"].get("content") or "" for choice in event["choices"]),
    ),
    "/v1/completions": (
        {"prompt": "Hello!", "max_tokens": STEPS},
        lambda event: "".join(choice["text"] for choice in event["choices"]),
    ),
    "/generate": (
        {"text": "Hello!", "sampling_params": {"max_new_tokens": STEPS, "ignore_eos": True}, "incremental": True},
        lambda event: event["text"],
    ),
}


@dataclass
class Server:
    address: tuple[str, int]
    web: int
    engine: int
    words: list[str]
    steps_file: Path

    def steps(self) -> list[float]:
        """The clock at the end of every step so far."""
        return [time for (time,) in struct.iter_unpack("d", self.steps_file.read_bytes())]


def words_and_ids(count: int) -> tuple[list[str], list[int]]:
    """Tokens of the default model that are whole words, all different."""
    tokenizer = load_tokenizer(EngineConfig(model_path=str(find_default_model())))
    found: dict[str, int] = {}
    for token_id in range(tokenizer.vocab_size):
        text = tokenizer.decode([token_id])
        if re.fullmatch(r" [a-z]{3,}", text):
            found.setdefault(text.strip(), token_id)
        if len(found) == count:
            break
    return list(found), list(found.values())


@contextmanager
def started() -> Iterator[Server]:
    words, ids = words_and_ids(4 * STEPS)
    with tempfile.TemporaryDirectory() as folder:
        tokens, steps, log = (Path(folder) / name for name in ("tokens.json", "steps", "log"))
        tokens.write_text(json.dumps(ids))
        steps.touch()
        environ = {
            **os.environ,
            "SGL_JAX_BENCH_TOKENS": str(tokens),
            "SGL_JAX_BENCH_STEPS": str(steps),
            "SGL_JAX_BENCH_PACE": str(PACE),
        }
        command = [sys.executable, str(Path(__file__).with_name("paced_server.py"))]
        flags = ["--device=fake", "--port=0", f"--max-running-requests={STREAMS}", "--max-total-tokens=262144"]
        with log.open("wb") as stderr:
            process = subprocess.Popen([*command, *flags], env=environ, stderr=stderr)
        try:
            while "SGL-JAX is ready" not in (text := log.read_text()):
                if process.poll() is not None:
                    raise RuntimeError(text)
            port = int(re.findall(r"listening on http://127\.0\.0\.1:(\d+)", text)[0])
            engine = int(re.findall(r"starting the engine, process (\d+)", text)[0])
            yield Server(("127.0.0.1", port), process.pid, engine, words, steps)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has taken so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(server: Server, path: str) -> dict[str, object]:
    """One wave of streams."""
    body, text = ROUTES[path]
    body = {**body, "stream": True, **({} if path == "/generate" else {"ignore_eos": True})}
    readers = [Reader(server.address, path, body, text) for _ in range(STREAMS)]
    total, taken = 0, []

    def on_tokens(count: int) -> None:
        nonlocal total
        total += count
        bounds = (STREAMS * WARM, STREAMS * (STEPS - WARM))
        if len(taken) < 2 and total >= bounds[len(taken)]:
            taken.append((CLOCK(), total, cpu_seconds(server.web), cpu_seconds(server.engine)))

    read_all(readers, on_tokens)
    (begin, first, web, engine), (end, last, web_end, engine_end) = taken
    seconds = end - begin
    times = server.steps()
    step_of = {server.words[number % len(server.words)]: time for number, time in enumerate(times)}
    delays = sorted(1e3 * (came - step_of[word]) for reader in readers for word, came in reader.tokens)
    return {
        "route": path,
        "streams": STREAMS,
        "complete": sum(len(reader.tokens) == STEPS for reader in readers),
        "tokens/s": round((last - first) / seconds),
        "web process, % of a core": round(100 * (web_end - web) / seconds, 1),
        "engine process, %": round(100 * (engine_end - engine) / seconds, 1),
        "after its step, ms: median": round(statistics.median(delays), 1),
        "p99": round(delays[int(len(delays) * 0.99)], 1),
        "most": round(delays[-1], 1),
    }


def run() -> list[dict[str, object]]:
    with started() as server:
        return [measure(server, path) for path in ROUTES]
