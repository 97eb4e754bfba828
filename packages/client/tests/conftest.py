"""Servers for tests: two on 127.0.0.1, of which one follows a script byte by byte, and one without a network."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from hypothesis import settings

from sgl_jax.client import AsyncSglJax, SglJax

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

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
CITY = '{"name": "Rome", "country": "Italy", "population": 2800000}'
METRICS = 'sglang:num_running_reqs{model_name="tiny"} 1\nsgl_jax_sequences_total{model_name="tiny",outcome="stop"} 2\n'
OTHER_ANSWERS = {
    "/generate": {
        "text": " blue.",
        "output_ids": [4, 5],
        "meta_info": {"id": "g", "finish_reason": {"type": "length", "length": 2}, "completion_tokens": 2},
    },
    "/tokenize": {"count": 2, "max_model_len": 512, "tokens": [9, 8]},
    "/detokenize": {"prompt": "Hello!"},
    "/apply_template": {"prompt": "<user>Hello!"},
    "/flush_cache": {"success": True},
    "/pause_generation": {"success": True},
    "/continue_generation": {"success": True},
    "/start_profile": {"success": True, "output_dir": "/profiles/1"},
    "/stop_profile": {"success": True, "output_dir": "/profiles/1"},
    "/abort_request": {"aborted": 1},
    "/v1/embeddings": {"data": [{"index": 0, "embedding": [0.5, -0.5]}, {"index": 1, "embedding": [1, 0]}]},
    "/v1/rerank": {"results": [{"index": 1, "relevance_score": 0.9, "document": {"text": "Paris"}}]},
    "/v1/score": {"scores": [[0.75, 0.25], [0.5, 0.5]]},
}


class _Handler(BaseHTTPRequestHandler):
    """A small server with our routes; it refuses negative temperatures."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Models, health, and what admins ask."""
        if self.path == "/v1/models":
            self._answer({"object": "list", "data": [{"id": "tiny", "max_model_len": 512}]})
        elif self.path == "/metrics":
            self._send(METRICS.encode(), "text/plain")
        elif self.path == "/get_load":
            self._answer([{"dp_rank": 0, "num_reqs": 1, "num_waiting_reqs": 0, "num_tokens": 16}])
        else:
            self._answer({"status": "ok", "phase": "ready", "stats": {"running": 1}})

    def do_POST(self) -> None:
        """Generation, and what goes with it."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if body.get("temperature", 0) < 0:
            error = {"message": "temperature must be >= 0", "type": "invalid_request_error", "param": "temperature"}
            self._answer({"error": error}, 400)
        elif self.path == "/v1/chat/completions" and body.get("stream"):
            said = _message(body)["content"]
            events = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in chat_events(said)]
            self._send(b"".join(events) + b"data: [DONE]\n\n", "text/event-stream")
        elif self.path == "/v1/chat/completions":
            choice = {"index": 0, "message": _message(body), "finish_reason": "stop"}
            self._answer({"id": "chatcmpl-1", "model": "tiny", "choices": [choice], "usage": usage(5)})
        elif self.path == "/v1/completions":
            self._answer({"id": "cmpl-1", "choices": [{"index": 0, "text": TEXT, "finish_reason": "length"}]})
        else:
            self._answer(OTHER_ANSWERS[self.path])

    def _answer(self, body: Any, status: int = 200) -> None:
        self._send(json.dumps(body).encode(), "application/json", status)

    def _send(self, content: bytes, content_type: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


def _message(body: dict[str, Any]) -> dict[str, Any]:
    """A call of the first tool, where its result is not told yet; a city, where a schema is given; or text."""
    if body.get("tools") and body["messages"][-1].get("role") != "tool":
        function = {"name": body["tools"][0]["function"]["name"], "arguments": '{"city": "Rome"}'}
        return {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": function}]}
    return {"role": "assistant", "content": CITY if "response_format" in body else TEXT}


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


class Recorder:
    """Answers every request with `answer`, or the next of a tuple of them, and remembers the requests."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answer
        if isinstance(answer, tuple):
            answer = answer[len(self.requests) - 1]
        answer = answer(request) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    @property
    def bodies(self) -> list[Any]:
        """The JSON of every request."""
        return [json.loads(request.content) for request in self.requests]

    @property
    def body(self) -> Any:
        """The JSON of the last request."""
        return self.bodies[-1]


@pytest.fixture
def connect() -> Iterator[Callable[..., tuple[SglJax, Recorder]]]:
    """Makes sync clients of servers that answer as told."""
    with contextlib.ExitStack() as stack:

        def make(answer: Any, **options: Any) -> tuple[SglJax, Recorder]:
            recorder = Recorder(answer)
            client = SglJax("http://h/v1", transport=httpx.MockTransport(recorder), **options)
            return stack.enter_context(client), recorder

        yield make


@pytest.fixture(params=["sync", "async"])
def use(request: pytest.FixtureRequest) -> Callable[..., tuple[Any, Recorder]]:
    """Does the same with either client: `use(answer, lambda client: client.chat("x"))` gives result and requests."""

    def with_sync(answer: Any, action: Callable[[Any], Any], **options: Any) -> tuple[Any, Recorder]:
        recorder = Recorder(answer)
        with SglJax("http://h", transport=httpx.MockTransport(recorder), **options) as client:
            return action(client), recorder

    def with_async(answer: Any, action: Callable[[Any], Any], **options: Any) -> tuple[Any, Recorder]:
        recorder = Recorder(answer)

        async def main() -> Any:
            async with AsyncSglJax("http://h", transport=httpx.MockTransport(recorder), **options) as client:
                return await action(client)

        return asyncio.run(main()), recorder

    return with_sync if request.param == "sync" else with_async


def completion_of(message: dict[str, Any], finish_reason: str = "stop") -> dict[str, Any]:
    """A chat answer that used 3 + 2 tokens."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}
    return {"id": "c1", "model": "tiny", "choices": [choice], "usage": usage(2)}


@pytest.fixture
def says() -> Callable[..., dict[str, Any]]:
    """Makes a chat answer: `says("Hi.")`."""
    return lambda text, finish_reason="stop": completion_of({"content": text}, finish_reason)


@pytest.fixture
def calls() -> Callable[..., dict[str, Any]]:
    """Makes a chat answer that wants tools called: `calls(("weather", '{"city": "Rome"}'))`."""

    def make(*wanted: tuple[str, str], finish_reason: str = "tool_calls") -> dict[str, Any]:
        tool_calls = [
            {"id": f"call-{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for number, (name, arguments) in enumerate(wanted)
        ]
        return completion_of({"content": None, "tool_calls": tool_calls}, finish_reason)

    return make
