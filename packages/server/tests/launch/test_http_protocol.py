from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from sgl_jax.server.http_protocol import MOST_HEAD_BYTES, BoundedHttpProtocol

PIECE = 4096


class FakeTransport:
    """Remembers what is written; nothing comes after `close`."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str) -> object:
        return None

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def count_body(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        more = message["more_body"]
    body = str(size).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def answer(pieces: Iterable[bytes]) -> tuple[bytes, int]:
    """What is written to a client that sends these, and how many bytes were taken in before the end."""

    async def serve() -> tuple[bytes, int]:
        config = uvicorn.Config(cast("Any", count_body), log_config=None, ws="none")
        transport, taken = FakeTransport(), 0
        protocol = BoundedHttpProtocol(config, ServerState(), {})
        protocol.connection_made(cast("asyncio.Transport", transport))
        for piece in pieces:
            if transport.closed:
                break
            protocol.data_received(piece)
            taken += len(piece)
            await asyncio.sleep(0)
        if transport.closed:
            protocol.connection_lost(None)
        await asyncio.gather(*protocol.tasks)
        return transport.written, taken

    return asyncio.run(serve())


def endless(piece: bytes) -> Iterable[bytes]:
    return (piece for _ in range(100 * MOST_HEAD_BYTES // len(piece)))


HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"GET /", b"a" * PIECE),
        (HEAD, b"a: b\r\n" * 600),
        (HEAD + b"a: ", b"b" * PIECE),
        (CHUNKED + b"0\r\n", b"a: b\r\n" * 600),
        (CHUNKED + b"5;", b"b" * PIECE),
    ],
    ids=["path", "headers", "value", "trailers", "extension"],
)
def test_what_goes_on_without_end_is_refused(begin: bytes, piece: bytes) -> None:
    written, taken = answer([begin, *endless(piece)])
    assert written.startswith(b"HTTP/1.1 400 ")
    assert written.endswith(b"\r\n\r\nInvalid HTTP request received.")
    assert taken <= MOST_HEAD_BYTES + len(begin) + PIECE


def test_a_large_head_is_taken() -> None:
    head = HEAD + b"a: " + b"b" * (MOST_HEAD_BYTES - 200) + b"\r\nContent-Length: 2\r\n\r\nok"
    written, _ = answer(head[at : at + PIECE] for at in range(0, len(head), PIECE))
    assert written.startswith(b"HTTP/1.1 200 ")
    assert written.endswith(b"\r\n\r\n2")


def test_the_frames_of_a_body_do_not_count() -> None:
    count = MOST_HEAD_BYTES // 4
    stream = CHUNKED + b"1\r\na\r\n" * count + b"0\r\n\r\n"
    written, _ = answer(stream[at : at + 50] for at in range(0, len(stream), 50))
    assert written.endswith(b"\r\n\r\n%d" % count)
