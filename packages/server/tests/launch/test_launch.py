from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

pytestmark = pytest.mark.model


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

LONG = {"text": "Once", "sampling_params": {"max_new_tokens": 8000, "ignore_eos": True}}


@contextmanager
def long_stream(url: str) -> Iterator[Iterator[str]]:
    """The lines of a long stream that has begun."""
    with (
        httpx.Client(timeout=60) as client,
        client.stream("POST", f"{url}/generate", json={**LONG, "stream": True}) as response,
    ):
        assert response.status_code == 200
        lines = (line for line in response.iter_lines() if line.startswith("data: "))
        next(lines)
        yield lines


def last_event(lines: Iterator[str]) -> Any:
    """The last event that is not the end mark."""
    events = [line.removeprefix("data: ") for line in lines]
    return json.loads([event for event in events if event != "[DONE]"][-1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_and_stops_in_order(serve: Serve, number: signal.Signals) -> None:
    server = serve("--device=fake", "--trust-remote-code")
    url = server.wait_ready()
    assert httpx.get(f"{url}/health").status_code == 200
    asked = {"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 5}
    answer = httpx.post(f"{url}/v1/chat/completions", json=asked)
    assert answer.json()["usage"]["completion_tokens"] == 5
    server.signal(number)
    assert server.wait() == 0
    assert server.worker_is_gone()
    assert "Traceback" not in server.log
    assert server.log.count("never runs code from a model folder") == 1
    assert "POST /v1/chat/completions" in server.log


def test_a_running_request_is_finished_before_the_end(serve: Serve) -> None:
    server = serve("--device=fake", "--drain-seconds=60")
    with long_stream(server.wait_ready()) as lines:
        server.signal(signal.SIGTERM)
        assert last_event(lines)["meta_info"]["completion_tokens"] == 8000
    assert server.wait() == 0


def test_after_the_drain_time_a_running_request_is_told(serve: Serve) -> None:
    server = serve("--device=fake", "--drain-seconds=0")
    with long_stream(server.wait_ready()) as lines:
        server.signal(signal.SIGTERM)
        assert "shutting down" in last_event(lines)["error"]["message"]
    assert server.wait() == 0
    assert server.worker_is_gone()
    assert "Traceback" not in server.log


@pytest.mark.parametrize("moment", ["listening on", "starting the engine", "engine: loading"])
def test_it_stops_in_order_while_it_starts(serve: Serve, moment: str) -> None:
    server = serve("--device=fake")
    server.wait_for(moment)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert server.worker_is_gone()
    assert "Traceback" not in server.log


def test_a_second_signal_ends_it_at_once(serve: Serve) -> None:
    server = serve("--device=fake", "--drain-seconds=3600")
    with long_stream(server.wait_ready()):
        server.signal(signal.SIGTERM)
        server.wait_for("SIGTERM: stopping")
        server.signal(signal.SIGTERM)
        assert server.wait() == 1
    assert server.worker_is_gone()


def test_a_dead_engine_ends_the_server_with_a_reason(serve: Serve) -> None:
    server = serve("--device=fake")
    with long_stream(server.wait_ready()) as lines:
        os.kill(server.worker_pid, signal.SIGKILL)
        assert "killed by SIGKILL" in last_event(lines)["error"]["message"]
    assert server.wait() == 1
    assert "ERROR    server The engine process was killed by SIGKILL" in server.log
    assert "Traceback" not in server.log


def test_told_to_stay_it_says_so_on_health(serve: Serve) -> None:
    server = serve("--device=fake", "--on-engine-death=stay")
    url = server.wait_ready()
    os.kill(server.worker_pid, signal.SIGKILL)
    server.wait_for("stays up without it")
    health = httpx.get(f"{url}/health")
    assert health.status_code == 503
    assert "dead" in health.text
    refused = httpx.post(f"{url}/generate", json={"text": "a"})
    assert refused.status_code == 503
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


def test_a_chat_template_file_replaces_the_models(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "template.jinja"
    file.write_text("{{ raise_exception('no talking') }}")
    server = serve("--device=fake", f"--chat-template={file}", "--served-model-name=mute")
    url = server.wait_ready()
    asked = {"model": "mute", "messages": [{"role": "user", "content": "Hello!"}]}
    answer = httpx.post(f"{url}/v1/chat/completions", json=asked)
    assert answer.status_code == 400
    assert "no talking" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["serve", "--prot=1"], "sgl-jax serve: error: Unknown flag --prot. Did you mean --port?"),
        (["serve", "--chat-template=/no/file", "--device=fake", "--port=0"], "--chat-template=/no/file cannot be read"),
        (["server"], "Unknown command 'server'. The command to serve a model is 'serve'."),
    ],
)
def test_mistakes_end_with_code_2_and_no_traceback(words: list[str], says: str) -> None:
    command = [sys.executable, "-c", "import sys; from sgl_jax.server.cli import main; sys.exit(main())", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
