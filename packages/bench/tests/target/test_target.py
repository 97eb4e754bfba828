"""The target against servers that answer in one way each, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from sgl_jax.bench.errors import UnusableServerError
from sgl_jax.bench.record import RequestRecord
from sgl_jax.bench.target.connect import connect
from sgl_jax.bench.target.options import TargetOptions
from sgl_jax.bench.target.request import generation_body, generation_request
from sgl_jax.bench.target.target import Target
from sgl_jax.bench.wire.address import ServerAddress
from sgl_jax.bench.wire.pool import ConnectionPool
from sgl_jax.bench.workload.base import Message, RequestSpec

SPEC = RequestSpec(4, (Message("system", "Be brief."), Message("user", "Hello")), max_tokens=9)
ADDRESS = ServerAddress(False, "localhost", 30000, "/team")


def _stream(*events: str) -> bytes:
    body = "".join(f"data: {event}\n\n" for event in events).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def _answer(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


TOKEN = json.dumps({"choices": [{"delta": {"content": "a"}}]})


async def _serve(answers: Sequence[bytes]) -> asyncio.Server:
    left = list(answers)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = [line.partition(b":") for line in head.lower().split(b"\r\n")]
        await reader.readexactly(next((int(value) for name, _, value in lines if name == b"content-length"), 0))
        if left:
            writer.write(left.pop(0))
        writer.close()

    return await asyncio.start_server(handle, "127.0.0.1", 0)


def _measure(answer: bytes, timeout: float = 60.0) -> RequestRecord:
    async def main() -> RequestRecord:
        server = await _serve([answer])
        port = server.sockets[0].getsockname()[1]
        async with server, ConnectionPool(ServerAddress(False, "127.0.0.1", port), 5.0) as pool:
            record = RequestRecord(0, sent=0.0)
            await Target(pool, TargetOptions("", model="m", timeout=timeout)).measure(SPEC, record)
            return record

    return asyncio.run(main())


def test_a_whole_answer_succeeds() -> None:
    record = _measure(_stream(TOKEN, TOKEN, "[DONE]"))
    assert record.ok
    assert len(record.chunk_times) == 2
    assert record.end >= record.chunk_times[-1]


@pytest.mark.parametrize(
    ("answer", "kind", "status", "message"),
    [
        (_answer("429 Busy", '{"error": {"message": "the queue is full"}}'), "http_429", 429, "the queue is full"),
        (_answer("502 Bad Gateway", "<h1>oops</h1>"), "http_502", 502, "oops"),
        (_stream(TOKEN), "stream", None, "before [DONE]"),
        (_stream(TOKEN, "{"), "stream", None, "not JSON"),
        (_stream(TOKEN, '{"error": {"message": "the engine died"}}'), "stream", None, "the engine died"),
        (_stream(TOKEN, "[DONE]")[:-3], "stream", None, "closed the connection"),
        (b"", "stream", None, "before its answer began"),
    ],
)
def test_failures_are_told_apart(answer: bytes, kind: str, status: int | None, message: str) -> None:
    record = _measure(answer)
    assert record.failure is not None
    assert (record.failure.kind, record.failure.status) == (kind, status)
    assert message in record.failure.message
    assert record.end == record.end, "a failure has an end"


def test_nobody_there_is_a_connection_failure() -> None:
    async def main() -> RequestRecord:
        async with ConnectionPool(ServerAddress(False, "127.0.0.1", 1), 5.0) as pool:
            record = RequestRecord(0, sent=0.0)
            await Target(pool, TargetOptions("", model="m")).measure(SPEC, record)
            return record

    failure = asyncio.run(main()).failure
    assert failure is not None
    assert failure.kind == "connection"


def test_a_bug_is_not_counted_as_a_failed_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sgl_jax.bench.target.answer._parse", lambda data: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        _measure(_stream(TOKEN))


def test_the_request_says_what_was_asked_for() -> None:
    options = TargetOptions("", model="m", temperature=0.0, seed=10, ignore_eos=True)
    assert generation_body(SPEC, options) == {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        "model": "m",
        "max_tokens": 9,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "seed": 14,
        "ignore_eos": True,
    }


def test_what_was_not_asked_for_is_not_sent() -> None:
    body = generation_body(SPEC, TargetOptions("", model="m", endpoint="completions"))
    assert not {"seed", "ignore_eos", "messages"} & body.keys()
    assert body["prompt"] == "Be brief.\nHello"


def test_a_workload_may_add_fields() -> None:
    spec = RequestSpec(0, SPEC.messages, 9, extra={"response_format": {"type": "json_object"}, "temperature": 0.1})
    body = generation_body(spec, TargetOptions("", model="m"))
    assert body["response_format"] == {"type": "json_object"}
    assert body["temperature"] == 0.1


def test_a_request_is_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SGL_JAX_API_KEY", "from-the-environment")
    options = TargetOptions("", model="m", api_key="sk-1")
    head, _, body = generation_request(SPEC, options, ADDRESS).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /team/v1/chat/completions HTTP/1.1"
    assert {"host: localhost:30000", "authorization: Bearer sk-1", f"content-length: {len(body)}"} <= set(lines)
    assert json.loads(body)["model"] == "m"
    assert b"Bearer from-the-environment" in generation_request(SPEC, TargetOptions("", model="m"), ADDRESS)


@pytest.mark.parametrize("url", ["localhost:30000", "http://localhost:30000/", "http://localhost:30000/v1/"])
def test_urls_are_taken_as_people_write_them(url: str) -> None:
    assert TargetOptions(url).root == "http://localhost:30000"


def _connect(*answers: bytes, **options: Any) -> str | None:
    async def main() -> str | None:
        server = await _serve(answers)
        port = server.sockets[0].getsockname()[1]
        async with server, connect(TargetOptions(f"http://127.0.0.1:{port}", **options)) as target:
            return target.model

    return asyncio.run(main())


def test_the_first_served_model_is_measured() -> None:
    assert _connect(_answer("200 OK", '{"data": [{"id": "a"}, {"id": "b"}]}')) == "a"


@pytest.mark.parametrize("answer", [_answer("404 Not Found", ""), _answer("200 OK", "hello")])
def test_a_named_model_needs_no_list(answer: bytes) -> None:
    assert _connect(answer, model="mine") == "mine"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (_answer("401 Unauthorized", "{}"), "--api-key"),
        (_answer("404 Not Found", "{}"), "name one with --model"),
        (_answer("200 OK", '{"data": []}'), "serves no model"),
        (_answer("200 OK", "hello"), "does not answer as an OpenAI-compatible server"),
        (b"", "cannot reach a server"),
    ],
)
def test_a_server_that_cannot_be_measured_says_what_to_change(answer: bytes, message: str) -> None:
    with pytest.raises(UnusableServerError, match=message):
        _connect(answer)


def test_a_server_that_is_starting_is_waited_for() -> None:
    said: list[str] = []

    async def main() -> str | None:
        starting, ready = _answer("503 Starting", '{"status": "loading"}'), _answer("200 OK", '{"status": "ok"}')
        server = await _serve([starting, starting, ready, _answer("200 OK", '{"data": [{"id": "a"}]}')])
        port = server.sockets[0].getsockname()[1]
        options = TargetOptions(f"http://127.0.0.1:{port}", wait_ready=60.0)
        async with server, connect(options, said.append) as target:
            return target.model

    assert asyncio.run(main()) == "a"
    assert any("loading" in line for line in said)
