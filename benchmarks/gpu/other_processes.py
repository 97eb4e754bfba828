"""Experiments with processes of other kinds: Transformers beside us, and the server under load."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.gpu.engine_experiments import write_model
from benchmarks.gpu.settings import Settings

Row = dict[str, Any]
PEER_SECONDS = 150
_PEER = Path(__file__).with_name("peer.py")


def peer(settings: Settings) -> Iterator[Row]:
    """`transformers`, static cache and torch.compile, at the batches of `steps`."""
    python = settings.peer_python or sys.executable
    found = subprocess.run([python, "-c", "import torch, transformers"], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        yield {
            "model": "skipped",
            "why": f"{Path(python).name} has no torch or no transformers; --peer-python names one",
        }
        return
    device = "cpu" if settings.device == "cpu" else "cuda"
    for name, config in settings.models.items():
        folder = write_model(config)
        for batch in settings.batches:
            sizes = [str(size) for size in (batch, settings.context, settings.new_tokens)]
            row: Row = {"model": name, "batch": batch}
            try:
                done = subprocess.run(
                    [python, str(_PEER), folder, *sizes, device],
                    capture_output=True,
                    text=True,
                    timeout=PEER_SECONDS,
                    check=False,
                )
                last = (done.stdout.strip() or "{}").splitlines()[-1]
                said = (done.stderr.strip() or "nothing was said").splitlines()[-1]
                yield row | (json.loads(last) if done.returncode == 0 else {"why": said[:200]})
            except subprocess.TimeoutExpired:
                yield row | {"why": f"not done after {PEER_SECONDS} s"}


def server(settings: Settings) -> Iterator[Row]:
    """The whole server over HTTP, by `sgl-jax-bench`: the first model, as many at once as the largest batch."""
    name, config = next(iter(settings.models.items()))
    concurrent = settings.batches[-1]
    prompt, answer = (24, 6) if settings.tiny else (512, 128)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = [
        f"--model-path={write_model(config)}",
        *("--load-format=dummy", "--served-model-name=made-up", f"--device={settings.device}"),
        *(f"--port={port}", f"--max-running-requests={concurrent}", "--max-seq-len=256" if settings.tiny else ""),
        f"--max-total-tokens={concurrent * 4 * (prompt + answer)}",
    ]
    flags = [flag for flag in flags if flag]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    serving = subprocess.Popen([sys.executable, "-m", "sgl_jax.launch_server", *flags], **quiet)  # type: ignore[call-overload]
    try:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "bench.json"
            command = [
                sys.executable,
                "-m",
                "sgl_jax.bench",
                "run",
                f"--url=http://127.0.0.1:{port}",
                "--wait-ready=5m",
            ]
            command += [f"--concurrent={concurrent}", f"--requests={concurrent * 3}", f"--warmup={concurrent}"]
            command += [f"--input-len={prompt}", f"--output-len={answer}", "--ignore-eos", "--quiet"]
            command += ["--endpoint=completions", "--temperature=0", f"--output={output}"]
            done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
            if not output.exists():
                yield {"model": name, "why": (done.stderr.strip() or done.stdout.strip() or "no results")[-300:]}
                return
            yield {"model": name, "concurrent": concurrent, **_figures(json.loads(output.read_text()))}
    finally:
        serving.terminate()
        serving.wait(60)


def _figures(record: Any) -> Row:
    """Every plain number of the summary that the tester wrote."""
    summary = record.get("summary", record) if isinstance(record, dict) else {}
    return {name: round(value, 3) for name, value in summary.items() if isinstance(value, int | float)}
