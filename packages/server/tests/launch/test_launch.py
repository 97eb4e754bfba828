from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from sgl_jax.server.cli import main
from sgl_jax.server.launch import REPEAT_SECONDS


class Server(Protocol):
    """What `conftest.ServerUnderTest` offers."""

    url: str
    worker_pid: int
    log: str

    def wait_ready(self) -> str: ...
    def wait_for(self, pattern: str) -> str: ...
    def signal(self, number: signal.Signals) -> None: ...
    def wait(self) -> int: ...
    def worker_is_gone(self) -> bool: ...


Serve = Callable[..., Server]

FAKE = ("--device=fake", "--max-seq-len=1000000", "--max-total-tokens=1000000")
"""No computing, and room for an answer without end."""
LONG = 8000
ENDLESS = 900_000


@contextmanager
def stream(url: str, tokens: int) -> Iterator[Iterator[str]]:
    """The lines of a long stream that has begun."""
    sampling = {"max_new_tokens": tokens, "ignore_eos": True}
    body = {"text": "Once", "sampling_params": sampling, "stream": True, "incremental": True}
    with httpx.Client(timeout=60) as client, client.stream("POST", f"{url}/generate", json=body) as response:
        assert response.status_code == 200
        lines = (line for line in response.iter_lines() if line.startswith("data: "))
        next(lines)
        yield lines


def last_event(lines: Iterator[str]) -> Any:
    """The last event that is not the end mark."""
    events = [line.removeprefix("data: ") for line in lines]
    return json.loads([event for event in events if event != "[DONE]"][-1])


def test_it_serves_and_stops_in_order(serve: Serve) -> None:
    server = serve(*FAKE, "--trust-remote-code")
    url = server.wait_ready()
    assert httpx.get(f"{url}/health").status_code == 200
    asked = {"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 5}
    answer = httpx.post(f"{url}/v1/chat/completions", json=asked)
    assert answer.json()["usage"]["completion_tokens"] == 5
    server.signal(signal.SIGINT)
    assert server.wait() == 0
    assert server.worker_is_gone()
    assert "Traceback" not in server.log
    assert server.log.count("never runs code from a model folder") == 1
    assert "POST /v1/chat/completions" in server.log
    assert "GET /health" not in server.log


def test_all_of_the_log_can_be_json_and_go_to_a_file(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "server.log"
    server = serve(*FAKE, "--log-format=json", f"--log-file={file}")
    url = server.wait_for(r"is ready\. API reference: (\S+)/docs")
    httpx.get(f"{url}/v1/models", headers={"x-request-id": "mine"})
    os.kill(int(server.wait_for(r"starting the engine, process (\d+)")), signal.SIGKILL)
    server.wait_for(r"started the engine again(?s:.*)engine: ready")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines == [json.loads(line) for line in server.log.splitlines()]
    (access,) = (line for line in lines if line["part"] == "http")
    assert (access["path"], access["status"], access["request_id"]) == ("/v1/models", 200, "mine")
    assert any(line["level"] == "error" and "SIGKILL" in line["message"] for line in lines)


def test_a_running_request_is_finished_before_the_end(serve: Serve) -> None:
    server = serve(*FAKE, "--drain-seconds=60")
    with stream(server.wait_ready(), LONG) as lines:
        # Twice at once, as `timeout` does: a process and its group.
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGTERM)
        assert last_event(lines)["meta_info"]["completion_tokens"] == LONG
    assert server.wait() == 0


def test_after_the_drain_time_a_running_request_is_told(serve: Serve) -> None:
    server = serve(*FAKE, "--drain-seconds=0")
    with stream(server.wait_ready(), ENDLESS) as lines:
        server.signal(signal.SIGTERM)
        assert "shutting down" in last_event(lines)["error"]["message"]
    assert server.wait() == 0
    assert server.worker_is_gone()
    assert "Traceback" not in server.log


@pytest.mark.parametrize("moment", ["listening on", "engine: loading"])
def test_it_stops_in_order_while_it_starts(serve: Serve, moment: str) -> None:
    server = serve(*FAKE)
    server.wait_for(moment)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert server.worker_is_gone()
    assert "Traceback" not in server.log


def test_a_second_signal_ends_it_at_once(serve: Serve) -> None:
    server = serve(*FAKE, "--drain-seconds=3600")
    with stream(server.wait_ready(), ENDLESS):
        server.signal(signal.SIGTERM)
        server.wait_for("SIGTERM: stopping")
        time.sleep(REPEAT_SECONDS + 0.1)  # sooner, it would be taken for the same
        server.signal(signal.SIGTERM)
        assert server.wait() == 1
    assert server.worker_is_gone()
    assert "Traceback" not in server.log


def test_a_dead_engine_is_started_again(serve: Serve) -> None:
    server = serve(*FAKE)
    url = server.wait_ready()
    with stream(url, ENDLESS) as lines:
        os.kill(server.worker_pid, signal.SIGKILL)
        assert "killed by SIGKILL" in last_event(lines)["error"]["message"]
    assert httpx.get(f"{url}/readyz").status_code == 503
    assert httpx.get(f"{url}/health").json()["status"] == "starting"
    server.wait_for(r"started the engine again(?s:.*)engine: ready")
    assert httpx.get(f"{url}/readyz").status_code == 200
    assert httpx.post(f"{url}/generate", json={"text": "a"}).status_code == 200
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "Traceback" not in server.log


def test_without_restarts_a_dead_engine_ends_the_server_with_a_reason(serve: Serve) -> None:
    server = serve(*FAKE, "--no-restart")
    with stream(server.wait_ready(), ENDLESS) as lines:
        os.kill(server.worker_pid, signal.SIGKILL)
        assert "killed by SIGKILL" in last_event(lines)["error"]["message"]
    assert server.wait() == 1
    assert "ERROR    server The engine process was killed by SIGKILL" in server.log
    assert "Traceback" not in server.log


def test_told_to_stay_it_says_so_on_health(serve: Serve) -> None:
    server = serve(*FAKE, "--on-engine-death=stay")
    url = server.wait_ready()
    os.kill(server.worker_pid, signal.SIGKILL)
    server.wait_for("stays up without it")
    health = httpx.get(f"{url}/health")
    assert health.status_code == 503
    assert "dead" in health.text
    refused = httpx.post(f"{url}/generate", json={"text": "a"})
    assert refused.status_code == 503
    assert "killed by SIGKILL" in refused.json()["error"]["message"]
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_a_taken_port_is_refused_before_anything_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "sgl_jax.launch_server", "--device=fake", f"--port={port}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"Port {port} on 127.0.0.1 is in use" in done.stderr
    assert "starting the engine" not in done.stderr


def test_a_missing_model_is_one_clear_line(serve: Serve) -> None:
    server = serve("--device=fake", "--model-path=/no/such/model")
    assert server.wait() == 1
    assert "/no/such/model" in server.log
    assert "Traceback" not in server.log
    assert server.worker_is_gone()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["serve", "--prot=1"], "sgl-jax serve: error: Unknown flag --prot. Did you mean --port?"),
        (["server"], "Unknown command 'server'. The command to serve a model is 'serve'."),
    ],
)
def test_a_mistyped_command_line_is_one_clear_line(
    capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert main(words) == 2
    assert says in capsys.readouterr().err


def test_a_mistake_that_shows_late_is_one_clear_line_too(serve: Serve) -> None:
    server = serve(*FAKE, "--chat-template=/no/file")
    assert server.wait() == 2
    assert "error: --chat-template=/no/file cannot be read" in server.log
    assert "Traceback" not in server.log
    assert server.worker_is_gone()
