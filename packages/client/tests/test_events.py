"""Whatever bytes a server sends as a stream, the reader gives chunks or a typed error, and never hangs."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.client import SglJaxClientError
from sgl_jax.client._events import EventReader
from sgl_jax.client._requests import Reply
from sgl_jax.client.resources.chat import CHAT
from sgl_jax.client.resources.generate import GENERATE
from sgl_jax.client.types import ChatCompletionChunk, GenerateResponse

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "delta", "content", "index", "error", "usage", "text", "code"]), inner
        )
    ),
    max_leaves=12,
)
EVENTS = st.one_of(
    JSON.map(lambda value: b"data: " + json.dumps(value).encode() + b"\n\n"),
    st.sampled_from(
        [b"data: [DONE]\n\n", b": note\n\n", b"data:\n\n", b"\r\n", b'data: {"choices": [{"delta": {}}]}\n\n']
    ),
    st.binary(max_size=20),
)


def read(kind, pieces):
    """The chunks up to the end or the first error."""
    reader, chunks = EventReader(kind, Reply(200, {}, b"", "req")), []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (chunk := reader.next_chunk()) is not None:
                chunks.append(chunk)
        reader.end()
    except SglJaxClientError:
        pass  # anything else fails the test
    reader.result()
    return chunks


@given(pieces=st.lists(EVENTS, max_size=12))
def test_any_chat_stream_gives_chunks_or_a_typed_error(pieces):
    assert all(isinstance(chunk, ChatCompletionChunk) for chunk in read(CHAT.stream, pieces))


@given(pieces=st.lists(EVENTS, max_size=12))
def test_any_native_stream_gives_events_or_a_typed_error(pieces):
    assert all(isinstance(chunk, GenerateResponse) for chunk in read(GENERATE.stream, pieces))


def test_nothing_counts_after_done():
    chunk = b'data: {"id": "a"}\n\n'
    assert len(read(CHAT.stream, [chunk, b"data: [DONE]\n\n", chunk, b"data: rubbish\n\n"])) == 1
