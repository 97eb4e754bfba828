"""Streams over real sockets: in pieces, left early, cut, silent and damaged."""

from __future__ import annotations

import threading

import pytest

from sgl_jax.client import (
    APIError,
    APITimeoutError,
    BadRequestError,
    ServiceUnavailableError,
    SglJax,
    StreamError,
)


@pytest.fixture
def connect(scripted):
    """A client of a server that runs a script, and that server."""
    clients = []

    def make(script, **options):
        server = scripted(script)
        clients.append(SglJax(server.url, **{"timeout": 20, **options}))
        return clients[-1], server

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def whole(stream_head, events_of):
    """Sends a whole answer: `one two three`."""

    def script(peer):
        peer.send(stream_head)
        peer.send_chunk(b": keep-alive\n\n")
        peer.send_events(*events_of("one two three"), b"[DONE]")
        peer.send_chunk(b"")

    return script


def test_text_comes_in_pieces_and_ends_whole(connect, whole):
    client, _ = connect(whole)
    with client.chat.stream("Count.") as stream:
        assert list(stream.text_stream) == ["one ", "two ", "three"]
        message = stream.get_final_message()
        assert (message.role, message.text) == ("assistant", "one two three")
        final = stream.get_final_response()
    assert (final.id, final.model, final.usage.completion_tokens) == ("chatcmpl-1", "tiny", 3)
    assert final.choices[0].finish_reason == "stop"
    assert stream.request_id == "req-7"


@pytest.mark.parametrize("name", ["call", "create", "stream"])
def test_three_ways_to_the_same_stream(name, connect, whole):
    client, _ = connect(whole)
    messages = [{"role": "user", "content": "Count."}]
    ways = {
        "call": lambda: client.chat(messages, stream=True),
        "create": lambda: client.chat.completions.create(messages=messages, stream=True),
        "stream": lambda: client.chat.stream(messages),
    }
    with ways[name]() as stream:
        chunks = list(stream)
    assert "".join(chunk.text for chunk in chunks) == "one two three"
    assert chunks[-1].usage.total_tokens == 6


def test_the_final_response_reads_what_is_left(connect, whole):
    client, _ = connect(whole)
    with client.chat.stream("Count.") as stream:
        next(stream)
        next(stream)
        assert stream.get_final_response().text == "one two three"


def test_chunks_arrive_while_the_server_still_writes(connect, stream_head, events_of):
    read = threading.Event()

    def script(peer):
        events = events_of("one two")
        peer.send(stream_head)
        peer.send_events(*events[:2])
        assert read.wait(20)
        peer.send_events(*events[2:], b"[DONE]")
        peer.send_chunk(b"")

    client, _ = connect(script)
    with client.chat.stream("Count.") as stream:
        pieces = stream.text_stream
        assert next(pieces) == "one "
        read.set()
        assert list(pieces) == ["two"]


def test_leaving_early_closes_the_connection(connect, stream_head, events_of):
    def script(peer):
        peer.send(stream_head)
        peer.send_events(*events_of("one two")[:2])
        if peer.wait_until_gone():
            server.gone.set()

    client, server = connect(script)
    with client.chat.stream("Count.") as stream:
        assert next(stream.text_stream) == "one "
    assert server.gone.wait(20)
    assert list(stream) == []
    with pytest.raises(StreamError, match="closed before its end"):
        stream.get_final_response()


def test_a_connection_is_used_again_after_a_whole_stream(stream_head, scripted, whole):
    def script(peer):
        whole(peer)
        while peer.socket.recv(65536):  # the second request, on the same connection
            whole(peer)

    server = scripted(script)
    with SglJax(server.url, timeout=20) as client:
        for _ in range(2):
            with client.chat.stream("Count.") as stream:
                assert stream.get_final_message().text == "one two three"
    assert server.connections == 1


@pytest.mark.parametrize("end", ["cut", "end"])
def test_half_an_answer_is_an_error(end, connect, stream_head, events_of):
    def script(peer):
        peer.send(stream_head)
        peer.send_events(*events_of("one two")[:2])
        if end == "end":
            peer.send_chunk(b"")

    client, server = connect(script)
    seen = []
    with client.chat.stream("Count.") as stream, pytest.raises(StreamError, match="after 2 events") as caught:
        seen.extend(stream.text_stream)
    assert seen == ["one "]
    assert caught.value.request_id == "req-7"
    assert server.connections == 1


@pytest.mark.parametrize("event", [b"not json", b"[]", b'{"choices": 3}', b'{"id": ', b'"error"', b"\xff\xfe"])
def test_an_event_that_is_no_chunk_is_an_error(event, connect, stream_head):
    def script(peer):
        peer.send(stream_head)
        peer.send_events(event)
        peer.wait_until_gone()
        server.gone.set()

    client, server = connect(script)
    with (
        client.chat.stream("Count.") as stream,
        pytest.raises(StreamError, match="event 1 is not a ChatCompletionChunk"),
    ):
        list(stream)
    assert server.gone.wait(20)


def test_an_answer_that_is_no_stream_is_an_error(connect):
    client, _ = connect(lambda peer: peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{}"))
    with (
        client.chat.stream("Count.") as stream,
        pytest.raises(StreamError, match=r"after 0 events \(application/json\)"),
    ):
        list(stream)


def test_an_error_event_is_the_servers_error(connect, stream_head, events_of):
    def script(peer):
        error = {"message": "The engine died.", "type": "service_unavailable_error", "code": "unavailable"}
        peer.send(stream_head)
        peer.send_events(*events_of("one two")[:2], {"error": error})
        peer.send_chunk(b"")

    client, _ = connect(script)
    seen = []
    with client.chat.stream("Count.") as stream, pytest.raises(APIError, match=r"The engine died\. \(request id req-7"):
        seen.extend(stream.text_stream)
    assert seen == ["one "]


def test_the_class_of_an_error_event_tells_what_happened(connect, stream_head):
    def script(peer):
        peer.send(stream_head)
        peer.send_events({"error": {"message": "down", "type": "service_unavailable_error"}})

    client, _ = connect(script)
    with client.chat.stream("Count.") as stream, pytest.raises(ServiceUnavailableError):
        list(stream)


def test_text_that_speaks_of_errors_is_no_error(connect, stream_head, events_of):
    text = 'the "error" {"error": 1}'

    def script(peer):
        peer.send(stream_head)
        peer.send_events(*events_of(text), b"[DONE]")
        peer.send_chunk(b"")

    client, _ = connect(script)
    with client.chat.stream("Count.") as stream:
        assert stream.get_final_message().text == text


def test_a_refused_stream_is_a_plain_error(connect):
    body = b'{"error": {"message": "no such field", "param": "n"}}'
    head = b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\n\r\n" % len(body)
    client, _ = connect(lambda peer: peer.send(head + body))
    with pytest.raises(BadRequestError, match="no such field") as caught:
        client.chat.stream("Count.")
    assert caught.value.param == "n"


def test_silence_in_a_stream_is_a_timeout(connect, stream_head, events_of):
    def script(peer):
        peer.send(stream_head)
        peer.send_events(events_of("one")[0])
        peer.wait_until_gone()
        server.gone.set()

    client, server = connect(script, timeout=0.2)
    with client.chat.stream("Count.") as stream, pytest.raises(APITimeoutError) as caught:
        list(stream)
    assert caught.value.request_id == "req-7"
    assert server.gone.wait(20)


def test_what_breaks_after_the_end_is_no_loss(connect, stream_head, events_of):
    def script(peer):
        peer.send(stream_head)
        peer.send_events(*events_of("one two"), b"[DONE]")  # and then the connection, without the last chunk

    client, _ = connect(script)
    with client.chat.stream("Count.") as stream:
        assert stream.get_final_message().text == "one two"


def test_one_byte_at_a_time(connect, stream_head, events_of):
    def script(peer):
        peer.send(stream_head)
        for event in [*events_of("π ≈ 3"), None]:
            data = b"data: [DONE]\r\n\r\n" if event is None else b"data: " + encode(event) + b"\r\n\r\n"
            for byte in data:
                peer.send_chunk(bytes([byte]))
        peer.send_chunk(b"")

    def encode(event):
        import json

        return json.dumps(event, ensure_ascii=False).encode()

    client, _ = connect(script)
    with client.chat.stream("Count.") as stream:
        assert list(stream.text_stream) == ["π ", "≈ ", "3"]


def test_native_streams_give_new_text_though_events_carry_all_of_it(connect, stream_head):
    def script(peer):
        assert peer.body["stream"] is True
        peer.send(stream_head)
        for text, finish in (("a", None), ("a", None), ("ab c", {"type": "length", "length": 3})):
            peer.send_events({"text": text, "output_ids": [1], "meta_info": {"id": "g", "finish_reason": finish}})
        peer.send_events(b"[DONE]")
        peer.send_chunk(b"")

    client, _ = connect(script)
    with client.generate("x", stream=True) as stream:
        assert list(stream.text_stream) == ["a", "b c"]
        assert stream.get_final_response().meta_info.finish_reason.type == "length"


def test_completions_stream(connect, stream_head):
    def script(peer):
        peer.send(stream_head)
        for index, text in ((0, "a"), (1, "x"), (0, "b"), (1, "y")):
            peer.send_events({"id": "cmpl", "choices": [{"index": index, "text": text}]})
        peer.send_events(b"[DONE]")
        peer.send_chunk(b"")

    client, _ = connect(script)
    with client.completions.create(prompt="p", n=2, stream=True) as stream:
        assert list(stream.text_stream) == ["a", "b"]
        assert [choice.text for choice in stream.get_final_response().choices] == ["ab", "xy"]
