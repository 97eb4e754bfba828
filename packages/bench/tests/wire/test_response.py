from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.bench.wire.errors import BrokenAnswerError
from sgl_jax.bench.wire.response import MAX_HEAD_BYTES, ResponseReader

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nT: 1\r\n\r\n"
)
COUNTED = b"HTTP/1.1 404 Not Found\r\ncontent-length: 11\r\n\r\nhello world"
CLOSED = b"HTTP/1.0 200 OK\r\n\r\nhello world"


def _read(data: bytes, *cuts: int) -> tuple[bytes, ResponseReader]:
    reader = ResponseReader()
    bounds = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [piece for low, high in pairwise(bounds) for piece in reader.feed(data[low:high])]
    return b"".join(pieces), reader


@given(data=st.sampled_from([CHUNKED, COUNTED]), cuts=st.lists(st.integers(0, 300), max_size=6))
def test_any_split_of_the_bytes_gives_the_same_body(data: bytes, cuts: list[int]) -> None:
    body, reader = _read(data, *cuts)
    assert body == b"hello world"
    assert reader.complete
    assert reader.reusable
    assert reader.status == (200 if data is CHUNKED else 404)


def test_pieces_are_handed_on_as_they_come() -> None:
    reader = ResponseReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel") == [b"hel"]
    assert reader.feed(b"lo\r\n") == [b"lo"]
    assert not reader.complete


def test_a_body_may_end_with_the_connection() -> None:
    body, reader = _read(CLOSED, 20)
    assert (body, reader.complete) == (b"hello world", False)
    reader.end()
    assert (reader.complete, reader.reusable) == (True, False)


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", True),
    ],
)
def test_who_wants_to_close_is_heeded(head: bytes, reusable: bool) -> None:
    _, reader = _read(head + b"content-length: 2\r\n\r\nok")
    assert reader.reusable is reusable


def test_interim_answers_are_skipped() -> None:
    body, reader = _read(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + COUNTED)
    assert (body, reader.status) == (b"hello world", 404)


def test_an_answer_may_have_no_body() -> None:
    assert _read(b"HTTP/1.1 204 No Content\r\n\r\n")[1].complete
    assert _read(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")[1].complete


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 OK\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "content-length"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfive\r\n", "no size of a chunk"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokay\r\n", "longer than announced"),
        (b"HTTP/1.1 200 OK\r\n" + b"x" * (MAX_HEAD_BYTES + 1), "no end of a line"),
    ],
)
def test_what_is_no_answer_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(BrokenAnswerError, match=message):
        _read(data)


@pytest.mark.parametrize(("data", "where"), [(b"", "before"), (COUNTED[:-1], "inside"), (CHUNKED[:-9], "inside")])
def test_a_connection_that_closes_early_is_an_error(data: bytes, where: str) -> None:
    with pytest.raises(BrokenAnswerError, match=where):
        _read(data)[1].end()


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_else_than_be_read_or_refused(data: bytes) -> None:
    reader = ResponseReader()
    try:
        reader.feed(data)
        reader.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + data)
    except BrokenAnswerError:
        pass
