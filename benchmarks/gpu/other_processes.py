"""Experiments with processes of other kinds: Transformers beside us, and the server under load."""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.gpu.engine_experiments import write_model
from benchmarks.gpu.settings import Settings

Row = dict[str, Any]
PEER_SECONDS = 75
READY_SECONDS = 90
_PEER = Path(__file__).with_name("peer.py")


def imports(settings: Settings) -> Iterator[Row]:
    """Is all there that the other experiments import? Asked first, because nothing else says it as soon."""
    for module, wants in (
        ("sgl_jax.engine.core", "steps, prefill, loops, second_start"),
        ("sgl_jax.server.cli", "server"),
        ("sgl_jax.server.web", "server"),
        ("sgl_jax.launch_server", "server"),
        ("sgl_jax.bench.cli", "server"),
        # What the server and its tester import only when they run.
        ("httptools", "server"),
        ("httpcore", "server"),
        ("uvloop", "server"),
        ("benchmarks.gpu.device_experiments", "the others"),
        ("benchmarks.gpu.prompt_experiments", "fresh_prompts"),
    ):
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are to be tried
            yield {"module": module, "wanted by": wants, "is": f"not there: {error!r}"}
        else:
            yield {"module": module, "wanted by": wants, "is": "there"}
    del settings


def peer(settings: Settings) -> Iterator[Row]:
    """`transformers`, static cache and torch.compile, at the batches of `steps`."""
    python = settings.peer_python or sys.executable
    # Without our sources and what was carried for them: it must find its own.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        command = [python, "-c", "import torch, transformers"]
        is_there = subprocess.run(command, capture_output=True, check=False, env=environ).returncode == 0
    except OSError:
        is_there = False
    if not is_there:
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
                    env=environ,
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
        # Few programs: each takes seconds to compile, and the time is short.
        *(f"--precompile-bs-paddings={concurrent}", f"--precompile-token-paddings={prompt * 4}"),
    ]
    flags = [flag for flag in flags if flag]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as file:
            serving = subprocess.Popen(
                [sys.executable, "-m", "sgl_jax.launch_server", *flags], stdout=file, stderr=subprocess.STDOUT
            )
        try:
            output = Path(folder) / "bench.json"
            command = [sys.executable, "-m", "sgl_jax.bench", "run", f"--url=http://127.0.0.1:{port}"]
            command += [f"--wait-ready={READY_SECONDS}s"]
            command += [f"--concurrent={concurrent}", f"--requests={concurrent * 3}", f"--warmup={concurrent}"]
            command += [f"--input-len={prompt}", f"--output-len={answer}", "--ignore-eos", "--quiet"]
            command += ["--endpoint=completions", "--temperature=0", f"--output={output}"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as tester:
                threading.Thread(target=_end_after, args=(serving, tester), daemon=True).start()
                printed, _ = tester.communicate()
            if not output.exists():
                said = (printed.strip() or "no results")[-300:]
                serving_said = log.read_text(encoding="utf-8", errors="replace").strip()[-600:]
                yield {"model": name, "why": said, "the server said": serving_said}
                return
            yield {"model": name, "concurrent": concurrent, **_figures(json.loads(output.read_text()))}
        finally:
            _end(serving)


def _end_after(serving: subprocess.Popen[bytes], tester: subprocess.Popen[str]) -> None:
    """Ends the tester once the server is gone: nobody will answer it."""
    while tester.poll() is None:
        if serving.poll() is not None:
            tester.kill()
        time.sleep(0.5)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _figures(record: Any) -> Row:
    """Every plain number of the summary that the tester wrote."""
    summary = record.get("summary", record) if isinstance(record, dict) else {}
    return {name: round(value, 3) for name, value in summary.items() if isinstance(value, int | float)}
