"""Two servers on 127.0.0.1: one that follows a script byte by byte, one that answers like ours."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

PATIENCE = 20.0
"""Seconds after which a test gives up on something that should happen at once."""

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nx-request-id: req-7\r\n\r\n"
)


@dataclass
class Peer:
    """One accepted connection, seen from the server; `body` is the request's JSON."""

    socket: socket.socket
    body: Any

    def send(self, data: bytes) -> None:
        """Sends raw bytes."""
        self.socket.sendall(data)

    def send_chunk(self, data: bytes) -> None:
        """Sends one chunk of a chunked body; the empty one ends it."""
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def send_events(self, *events: Any) -> None:
        """Sends each event as a chunk of its own."""
        for event in events:
            self.send_chunk(b"data: " + (event if isinstance(event, bytes) else json.dumps(event).encode()) + b"\n\n")

    def wait_until_gone(self) -> bool:
        """Whether the client closes the connection."""
        self.socket.settimeout(PATIENCE)
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


Script = Callable[[Peer], None]


@dataclass
class ScriptedServer:
    """Runs `script` on each connection after reading its request, then closes the connection."""

    script: Script
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    connections: int = 0
    gone: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def start(self) -> None:
        """Accepts connections in the background."""
        self._spawn(self._accept)

    def stop(self) -> None:
        """Ends, and waits for the scripts; idempotent."""
        if self.listener.fileno() >= 0:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
        for thread in self.threads:
            thread.join(PATIENCE)

    def _spawn(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            data = b""
            while b"\r\n\r\n" not in data:
                data += connection.recv(65536)
            head, _, rest = data.partition(b"\r\n\r\n")
            headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            while len(rest) < int(headers.get(b"content-length", 0)):
                rest += connection.recv(65536)
            with contextlib.suppress(ConnectionError):  # the client has hung up, as some tests do
                self.script(Peer(connection, json.loads(rest) if rest else None))


@pytest.fixture
def scripted() -> Iterator[Callable[[Script], ScriptedServer]]:
    """Starts a server that runs a script on each connection."""
    servers: list[ScriptedServer] = []

    def start(script: Script) -> ScriptedServer:
        servers.append(ScriptedServer(script))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def stream_head() -> bytes:
    """The head of a streamed answer whose request id is `req-7`."""
    return STREAM_HEAD


def chat_events(text: str) -> list[dict[str, Any]]:
    """A streamed chat answer, word by word, with the role first and usage last."""
    words = [word + " " for word in text.split(" ")[:-1]] + text.split(" ")[-1:]
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 5, "model": "tiny"}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": word} for word in words)]
    events: list[dict[str, Any]] = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    events[-1]["choices"][0]["finish_reason"] = "stop"
    return [*events, {**head, "choices": [], "usage": usage(len(words))}]


def usage(tokens: int) -> dict[str, int]:
    """Counts of an answer to a prompt of 3 tokens."""
    return {"prompt_tokens": 3, "completion_tokens": tokens, "total_tokens": 3 + tokens}


@pytest.fixture
def events_of() -> Callable[[str], list[dict[str, Any]]]:
    """Makes the events of a streamed chat answer."""
    return chat_events


TEXT = "It is a fine day."


class _Handler(BaseHTTPRequestHandler):
    """A small server with our routes; it refuses negative temperatures."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Models and health."""
        if self.path == "/v1/models":
            self._answer({"object": "list", "data": [{"id": "tiny", "max_model_len": 512}]})
        else:
            self._answer({"status": "ok", "phase": "ready"})

    def do_POST(self) -> None:
        """Generation."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if body.get("temperature", 0) < 0:
            error = {"message": "temperature must be >= 0", "type": "invalid_request_error", "param": "temperature"}
            self._answer({"error": error}, 400)
        elif self.path == "/v1/chat/completions" and body.get("stream"):
            self._stream(chat_events(TEXT))
        elif self.path == "/v1/chat/completions":
            choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
            self._answer({"id": "chatcmpl-1", "model": "tiny", "choices": [choice], "usage": usage(5)})
        elif self.path == "/v1/completions":
            self._answer({"id": "cmpl-1", "choices": [{"index": 0, "text": TEXT, "finish_reason": "length"}]})
        else:
            meta = {"id": "g", "finish_reason": {"type": "length", "length": 2}, "completion_tokens": 2}
            self._answer({"text": " blue.", "output_ids": [4, 5], "meta_info": meta})

    def _answer(self, body: Any, status: int = 200) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, events: list[Any]) -> None:
        content = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # of 5, some of many connections at once would be reset
    daemon_threads = True


@pytest.fixture
def server_url() -> Iterator[str]:
    """The URL of a small server that answers like ours."""
    server = _Server(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(PATIENCE)
