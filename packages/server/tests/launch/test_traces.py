"""A server that sends its traces to a collector."""

from __future__ import annotations

import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from sgl_jax.engine.errors import ConfigError
from sgl_jax.server.config import ServerConfig
from sgl_jax.server.web import make_traces

ENDPOINT = "http://127.0.0.1:1/v1/traces"


@pytest.fixture
def collector() -> Iterator[tuple[str, queue.Queue[bytes]]]:
    """URL of something that takes whatever is posted, and what it has taken."""
    taken: queue.Queue[bytes] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", taken
        server.shutdown()
        thread.join()


def test_what_is_left_is_sent_at_the_end(serve: Callable[..., Any], collector: tuple[str, queue.Queue[bytes]]) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra [otel] is not installed")
    endpoint, taken = collector
    server = serve("--device=fake", f"--otlp-traces-endpoint={endpoint}")
    url = server.wait_ready()
    assert httpx.post(f"{url}/v1/completions", json={"prompt": "Hi", "max_tokens": 3}).status_code == 200
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    sent = taken.get(timeout=60)
    for name in (b"POST /v1/completions", b"queue", b"prefill", b"decode", b"sgl-jax"):
        assert name in sent
    assert "Traceback" not in server.log


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sgl_jax.server.traces", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r"pip install 'sgl-jax-server\[otel\]'"):
        make_traces(ServerConfig(served_model_name="m", otlp_traces_endpoint=ENDPOINT))


def test_traces_are_made_only_if_somebody_wants_them() -> None:
    assert make_traces(ServerConfig(served_model_name="m")) is None
    with pytest.raises(ConfigError, match="must be an HTTP URL"):
        ServerConfig(served_model_name="m", otlp_traces_endpoint="localhost:4317")
