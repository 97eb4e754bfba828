"""Connections over real sockets, against servers that do one odd thing each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from sgl_jax.bench.wire.address import ServerAddress
from sgl_jax.bench.wire.connection import Reply
from sgl_jax.bench.wire.errors import BrokenAnswerError, ConnectError, DroppedError
from sgl_jax.bench.wire.pool import ConnectionPool

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class _Server:
    """Answers each request of each connection with the next of `answers`; None closes the connection instead."""

    def __init__(self, *answers: bytes | None) -> None:
        self._answers = list(answers)
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self._answers and await reader.readuntil(b"\r\n\r\n"):
                answer = self._answers.pop(0)
                if answer is None:
                    break
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def _with_pool(handler: Handler, use: Callable[[ConnectionPool], Awaitable[None]]) -> None:
    async def main() -> None:
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, ConnectionPool(ServerAddress(False, "127.0.0.1", port), 5.0) as pool:
            await use(pool)

    asyncio.run(main())


async def _get(pool: ConnectionPool) -> Reply:
    async with pool.lease() as connection:
        return await connection.exchange(REQUEST)


def test_a_connection_is_kept_for_the_next_exchange() -> None:
    server = _Server(OK, OK)

    async def use(pool: ConnectionPool) -> None:
        for _ in range(2):
            reply = await _get(pool)
            assert (reply.ok, reply.body) == (True, b"ok")

    _with_pool(server, use)
    assert server.connections == 1


def test_a_server_that_wants_to_close_gets_a_new_connection() -> None:
    server = _Server(OK.replace(b"content", b"connection: close\r\ncontent"), OK)

    async def use(pool: ConnectionPool) -> None:
        for _ in range(2):
            assert (await _get(pool)).ok

    _with_pool(server, use)
    assert server.connections == 2


def test_a_server_that_closes_kept_connections_without_a_word_gets_a_new_one_each_time() -> None:
    server = _Server(OK, None, OK, OK)

    async def use(pool: ConnectionPool) -> None:
        for _ in range(3):
            assert (await pool.exchange(REQUEST)).body == b"ok"

    _with_pool(server, use)
    assert server.connections == 3, "one that was closed, and one for each request since"


def test_a_new_connection_that_is_closed_is_not_tried_again() -> None:
    server = _Server(None, OK)

    async def use(pool: ConnectionPool) -> None:
        with pytest.raises(DroppedError, match="before its answer began"):
            await pool.exchange(REQUEST)

    _with_pool(server, use)
    assert server.connections == 1


def test_exchanges_at_the_same_time_have_connections_of_their_own() -> None:
    async def use(pool: ConnectionPool) -> None:
        async with pool.lease() as first, pool.lease() as second:
            assert first is not second

    _with_pool(_Server(), use)


def test_pieces_are_stamped_when_they_are_read() -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    sent: list[float] = []

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in (head, b"2\r\nab\r\n", b"1\r\nc\r\n", b"0\r\n\r\n"):
            await asyncio.sleep(0.01)
            sent.append(time.perf_counter())
            writer.write(piece)
        writer.close()

    async def use(pool: ConnectionPool) -> None:
        pieces: list[tuple[float, bytes]] = []
        async with pool.lease() as connection:
            reply = await connection.exchange(REQUEST, lambda moment, piece: pieces.append((moment, piece)))
        assert reply.body == b""
        assert [piece for _, piece in pieces] == [b"ab", b"c"]
        assert sent[1] <= pieces[0][0] <= sent[2] <= pieces[1][0]

    _with_pool(drip, use)


def test_the_body_of_an_error_is_kept_and_not_handed_on() -> None:
    async def use(pool: ConnectionPool) -> None:
        async with pool.lease() as connection:
            reply = await connection.exchange(REQUEST, lambda moment, piece: pytest.fail("an error is no stream"))
        assert (reply.status, reply.body) == (503, b"full")

    _with_pool(_Server(b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nfull"), use)


@pytest.mark.parametrize(
    ("answer", "message"),
    [(None, "before its answer began"), (OK[:-1], "inside its answer"), (b"hello\r\n\r\n", "does not speak HTTP")],
)
def test_a_broken_answer_is_one_error(answer: bytes | None, message: str) -> None:
    async def use(pool: ConnectionPool) -> None:
        with pytest.raises(BrokenAnswerError, match=message):
            await _get(pool)

    _with_pool(_Server(answer), use)


def test_what_the_reader_of_a_body_raises_ends_the_exchange() -> None:
    async def use(pool: ConnectionPool) -> None:
        def fail(moment: float, piece: bytes) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            async with pool.lease() as connection:
                await connection.exchange(REQUEST, fail)
        assert (await _get(pool)).ok  # on another connection

    _with_pool(_Server(OK, OK), use)


def test_leaving_early_closes_the_connection() -> None:
    closed = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()
        closed.set()
        writer.close()

    async def use(pool: ConnectionPool) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await _get(pool)
        async with asyncio.timeout(60):
            await closed.wait()

    _with_pool(wait, use)


def test_bytes_that_nobody_asked_for_end_the_connection() -> None:
    server = _Server(OK + b"HTTP/1.1 200 OK\r\n", OK)

    async def use(pool: ConnectionPool) -> None:
        for _ in range(2):
            assert (await _get(pool)).ok

    _with_pool(server, use)
    assert server.connections == 2


def test_nobody_there_is_a_connect_error() -> None:
    async def main() -> None:
        async with ConnectionPool(ServerAddress(False, "127.0.0.1", 1), 5.0) as pool:
            with pytest.raises(ConnectError):
                await _get(pool)

    asyncio.run(main())
