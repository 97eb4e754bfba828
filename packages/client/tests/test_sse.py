from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.client import _sse
from sgl_jax.client._sse import ServerSentEvent, SSEDecoder


def decode(*chunks: bytes) -> list[ServerSentEvent]:
    decoder = SSEDecoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)]


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"data: hello\n\n", [b"hello"]),
        (b"data:hello\n\n", [b"hello"]),
        (b"data:  two spaces\n\n", [b" two spaces"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: one\ndata: two\n\n", [b"one\ntwo"]),
        (b"data\n\n", [b""]),
        (b": keep-alive\n\ndata: a\n\n", [b"a"]),
        (b"id: 4\nretry: 10\nunknown: x\ndata: a\n\n", [b"a"]),
        (b"event: ping\n\ndata: a\n\n", [b"a"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data: a:b: c\n\n", [b"a:b: c"]),
        (b"\n\n\n", []),
        (b"data: cut off\n", []),
        (b"data: cut off", []),
        ("data: π ≈ 3\n\n".encode(), ["π ≈ 3".encode()]),
        (b"data: a\x0bb\x0cc\x85d\xe2\x80\xa8e\n\n", [b"a\x0bb\x0cc\x85d\xe2\x80\xa8e"]),  # none of these ends a line
    ],
)
def test_data_of_events(stream, data):
    assert [event.data for event in decode(stream)] == data


def test_an_event_keeps_its_name_for_itself():
    events = decode(b"event: error\ndata: a\n\ndata: b\n\n")
    assert events == [ServerSentEvent(b"a", "error"), ServerSentEvent(b"b", "message")]


LINES = st.sampled_from(
    [b"data: x", b"data:", b"data", b'data: {"a": 1}', b": note", b"event: e", b"id: 1", b"", b"\xc3\xa9", b"da", b":"]
)
STREAMS = st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r", b"\r\n"])), max_size=30).map(
    lambda lines: b"".join(line + end for line, end in lines)
)


@given(stream=STREAMS | st.binary(max_size=200), data=st.data())
def test_any_split_of_the_bytes_gives_the_same_events(stream, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert decode(*pieces) == decode(stream)
    assert decode(*(bytes([byte]) for byte in stream)) == decode(stream)


@given(data=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n")), min_size=1))
def test_what_is_encoded_comes_back(data):
    stream = "".join(f"data: {line}\n" for line in data) + "\n"
    assert decode(stream.encode()) == [ServerSentEvent("\n".join(data).encode())]


@pytest.mark.parametrize("piece", [b"x" * 60, b"data: " + b"x" * 40 + b"\n"])
def test_an_endless_event_is_refused(piece, monkeypatch):
    monkeypatch.setattr(_sse, "MAX_EVENT_BYTES", 1000)
    with pytest.raises(ValueError, match="larger than 1000 bytes"):
        decode(*[piece] * 100)


def test_many_small_events_are_not_one_large_one(monkeypatch):
    monkeypatch.setattr(_sse, "MAX_EVENT_BYTES", 100)
    decoder = SSEDecoder()
    events = [event for _ in range(100) for half in (b"data: 0123", b"456789\n\n") for event in decoder.feed(half)]
    assert [event.data for event in events] == [b"0123456789"] * 100
