from __future__ import annotations

import asyncio
import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from sgl_jax.bench.mock.behaviour import Freeze, MockBehaviour
from sgl_jax.bench.mock.server import MockServer

INSTANT = MockBehaviour(ttft=0.0, itl=0.0)
CHAT = {"messages": [{"role": "user", "content": "hello there"}], "max_tokens": 3}


def _call(url: str, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    """Make a request with the standard library's client, so that the mock is not tested by our own."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        content = body if body is None or isinstance(body, bytes) else json.dumps(body)
        connection.request(method, path, content)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _exchange(behaviour: MockBehaviour, method: str, path: str, body: Any = None) -> tuple[int, bytes, MockServer]:
    async def main() -> tuple[int, bytes, MockServer]:
        async with MockServer(behaviour) as server:
            status, content = await asyncio.to_thread(_call, server.url, method, path, body)
            return status, content, server

    return asyncio.run(main())


def _events(content: bytes) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in content.decode().split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def test_a_whole_chat_answer() -> None:
    status, content, _ = _exchange(INSTANT, "POST", "/v1/chat/completions", CHAT)
    answer = json.loads(content)
    assert status == 200
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["choices"][0]["message"]["content"]
    assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}


def test_a_streamed_chat_answer_starts_with_the_role_and_ends_with_usage() -> None:
    body = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    _, content, _ = _exchange(INSTANT, "POST", "/v1/chat/completions", body)
    first, *tokens, last, usage = _events(content)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert len(tokens) == 3
    assert last["choices"][0]["finish_reason"] == "length"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 3


def test_usage_comes_only_when_asked_for() -> None:
    _, content, _ = _exchange(INSTANT, "POST", "/v1/chat/completions", {**CHAT, "stream": True})
    assert all("usage" not in event for event in _events(content))


def test_a_streamed_text_completion() -> None:
    body = {"prompt": "one two three", "max_tokens": 4, "stream": True, "stream_options": {"include_usage": True}}
    _, content, _ = _exchange(MockBehaviour(ttft=0, itl=0, tokens_per_chunk=3), "POST", "/v1/completions", body)
    *tokens, last, usage = _events(content)
    assert [bool(event["choices"][0]["text"]) for event in tokens] == [True, True]
    assert last["choices"][0]["finish_reason"] == "length"
    assert usage["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def test_chunks_never_leave_before_they_are_due() -> None:
    behaviour = MockBehaviour(ttft=0.05, itl=0.02, freezes=(Freeze(0.06, 0.1),))
    body = {**CHAT, "stream": True}
    _, _, server = _exchange(behaviour, "POST", "/v1/chat/completions", body)
    served = server.log[0]
    assert served.body == body
    offsets = [sent - served.arrived for sent in served.sent]
    assert all(offset >= due for offset, due in zip(offsets, [0.05, 0.17, 0.19], strict=True))


def test_a_request_without_a_slot_waits_for_one() -> None:
    async def main() -> None:
        async with MockServer(MockBehaviour(ttft=0.05, itl=0.0, slots=1)) as server:
            body = {**CHAT, "stream": True}
            calls = [asyncio.to_thread(_call, server.url, "POST", "/v1/chat/completions", body) for _ in range(2)]
            await asyncio.gather(*calls)
            first, second = sorted(server.log, key=lambda served: served.sent[0])
            assert second.begun >= first.sent[-1]
            assert second.sent[0] - first.sent[-1] >= 0.05

    asyncio.run(main())


def test_the_wait_for_a_slot_is_in_the_usage() -> None:
    body = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    _, content, server = _exchange(MockBehaviour(ttft=0, itl=0, slots=1), "POST", "/v1/chat/completions", body)
    wait = _events(content)[-1]["usage"]["queue_time"]
    assert wait == pytest.approx(server.log[0].begun - server.log[0].arrived, abs=1e-5)


def test_it_counts_what_it_does() -> None:
    async def main() -> tuple[bytes, bytes]:
        async with MockServer(INSTANT) as server:
            for _ in range(2):
                await asyncio.to_thread(_call, server.url, "POST", "/v1/chat/completions", {**CHAT, "stream": True})
            info = await asyncio.to_thread(_call, server.url, "GET", "/get_server_info")
            metrics = await asyncio.to_thread(_call, server.url, "GET", "/metrics")
            return info[1], metrics[1]

    info, metrics = asyncio.run(main())
    stats = json.loads(info)["stats"]
    assert (stats["finished_total"], stats["generated_tokens_total"], stats["running"]) == (2, 6, 0)
    assert stats["pages_free"] == stats["pages_total"] == 1000
    assert b"mock_generated_tokens_total 6\n" in metrics


def test_a_server_may_say_nothing_of_itself() -> None:
    for path in ("/get_server_info", "/metrics"):
        assert _exchange(MockBehaviour(stats=False), "GET", path)[0] == 404


def test_every_second_request_fails_when_told_so() -> None:
    async def main() -> list[int]:
        async with MockServer(MockBehaviour(ttft=0, itl=0, fail_every=2)) as server:
            return [
                (await asyncio.to_thread(_call, server.url, "POST", "/v1/chat/completions", CHAT))[0] for _ in range(4)
            ]

    assert asyncio.run(main()) == [200, 500, 200, 500]


def test_a_dropped_stream_ends_inside_its_body() -> None:
    with pytest.raises(http.client.IncompleteRead):
        _exchange(MockBehaviour(ttft=0, itl=0, drop_every=1), "POST", "/v1/chat/completions", {**CHAT, "stream": True})


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/health", None, 200),
        ("GET", "/v1/models", None, 200),
        ("GET", "/nothing", None, 404),
        ("POST", "/v1/chat/completions", b"{", 400),
        ("POST", "/v1/chat/completions", [], 400),
        ("POST", "/v1/chat/completions", {**CHAT, "max_tokens": -1}, 400),
        ("POST", "/v1/chat/completions", {**CHAT, "max_tokens": "many"}, 400),
        ("POST", "/v1/chat/completions", b"\xff\xfe", 400),
    ],
)
def test_answers_and_refusals_are_json(method: str, path: str, body: Any, status: int) -> None:
    got, content, _ = _exchange(INSTANT, method, path, body)
    assert got == status
    assert ("error" in json.loads(content)) == (status >= 400)


@pytest.mark.parametrize("garbage", [b"GET\r\n\r\n", b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n", b"half a head"])
def test_garbage_gets_a_400_and_not_a_hang(garbage: bytes) -> None:
    async def main() -> bytes:
        async with MockServer(INSTANT) as server:
            reader, writer = await asyncio.open_connection(*urlsplit(server.url).netloc.split(":"))
            writer.write(garbage)
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            return answer

    assert asyncio.run(main()).startswith(b"HTTP/1.1 400")


def test_closing_ends_streams_that_are_still_running() -> None:
    async def main() -> None:
        async with MockServer(MockBehaviour(ttft=3600.0)) as server:
            reader, writer = await asyncio.open_connection(*urlsplit(server.url).netloc.split(":"))
            body = json.dumps({**CHAT, "stream": True}).encode()
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            await reader.readuntil(b"assistant")
        assert b"[DONE]" not in await reader.read()
        writer.close()

    asyncio.run(main())
