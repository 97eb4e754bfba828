"""Whatever a network and a server do wrong: no call hangs, none generates twice, and each ends in a typed error.

`SGL_JAX_FAULT_EXAMPLES=1000` looks further than CI does.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgl_jax.client import AsyncSglJax, SglJax, SglJaxClientError

EXAMPLES = int(os.environ.get("SGL_JAX_FAULT_EXAMPLES", "100"))
RETRIES = 2
DEADLINE = 0.05
"""Seconds. Only a body without end needs it; that another one meets it on a busy machine is a timeout like any."""

CHUNK = {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}
CHAT = {"choices": [{"index": 0, "message": {"content": "3"}, "finish_reason": "stop"}], "text": "x", "prompt": "x"}
TOOL_CALL = {"id": "a", "function": {"name": "tool", "arguments": "{}"}}
CALLING = {"choices": [{"index": 0, "message": {"tool_calls": [TOOL_CALL]}, "finish_reason": "tool_calls"}]}

UNSENT = [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), httpx.PoolTimeout("full")]
BROKEN = [
    *(httpx.ReadError("reset"), httpx.WriteError("reset"), httpx.ReadTimeout("slow"), httpx.WriteTimeout("slow")),
    *(httpx.RemoteProtocolError("half"), httpx.LocalProtocolError("odd"), httpx.CloseError("closed")),
]


@dataclass
class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Pieces, then an error, silence without an end, or the end. Remembers whether it was closed."""

    pieces: list[bytes]
    end: httpx.HTTPError | str | None
    closed: bool = False

    def __iter__(self):
        yield from self.pieces
        if isinstance(self.end, httpx.HTTPError):
            raise self.end
        if self.end == "drip":
            yield from itertools.repeat(b" ")

    async def __aiter__(self):
        for piece in self:
            yield piece

    def close(self):
        self.closed = True

    async def aclose(self):
        self.closed = True


@dataclass
class Answer:
    """What the server does with one request."""

    status: int
    headers: dict[str, str]
    pieces: list[bytes]
    end: httpx.HTTPError | str | None


@dataclass
class FaultyServer(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Does the next of its faults with each request, and the last one for ever; counts what it may have begun."""

    faults: list[Answer | httpx.HTTPError]
    tries: int = 0
    begun: Counter[str] = field(default_factory=Counter)
    bodies: list[Body] = field(default_factory=list)

    def handle_request(self, request):
        fault = self.faults[min(self.tries, len(self.faults) - 1)]
        self.tries += 1
        refused = fault.status in (429, 503) if isinstance(fault, Answer) else fault in UNSENT
        if not refused:
            self.begun[request.headers["x-request-id"]] += 1
        if not isinstance(fault, Answer):
            raise fault
        self.bodies.append(Body(fault.pieces, fault.end))
        return httpx.Response(fault.status, headers=fault.headers, stream=self.bodies[-1])

    async def handle_async_request(self, request):
        return self.handle_request(request)


def json_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


WHOLE_STREAM = b"data: " + json_bytes(CHUNK) + b"\n\ndata: [DONE]\n\n"
RETRY_AFTER = st.sampled_from(["0", "1", "3600", "Thu, 01 Jan 1970 00:00:01 GMT", "soon", "-1", "nan"])
SSE = st.lists(
    st.sampled_from(
        [
            *(b"data: " + json_bytes(CHUNK) + b"\n\n", b"data: [DONE]\n\n", b": note\r\n\r\n", b"data: {\n\n"),
            *(b'data: {"error": {"message": "no", "code": 503}}\n\n', b"data: [1]\n\n", b"event: x\rdata:\xff\r\r"),
        ]
    )
    | st.binary(max_size=8),
    max_size=6,
)
JSON = st.sampled_from([CHAT, CALLING, [CHAT], {}, {"choices": []}, {"choices": 1}, "text", None]).map(json_bytes)


@st.composite
def bodies(draw: st.DrawFn) -> list[bytes]:
    """JSON, a stream, rubbish, or half of it."""
    pieces = draw(SSE | (JSON | st.just(WHOLE_STREAM) | st.binary(max_size=20)).map(lambda body: [body]))
    if pieces and draw(st.booleans()):
        pieces = [*pieces[:-1], pieces[-1][: draw(st.integers(0, len(pieces[-1])))]]
    return pieces


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """A status, maybe with a good body, maybe with one that breaks off or never ends."""
    headers = {"content-type": draw(st.sampled_from(["application/json", "text/event-stream", "text/html"]))}
    if draw(st.integers(0, 7)) == 0:
        headers["content-encoding"] = draw(st.sampled_from(["gzip", "deflate"]))
    if draw(st.booleans()):
        headers["retry-after"] = draw(RETRY_AFTER)
    end = draw(st.none() | st.sampled_from([*BROKEN, "drip"]))
    status = draw(st.sampled_from([200, 200, 200, 429, 503, 500, 502, 504, 408, 400, 404, 307, 204]))
    return Answer(status, headers, draw(bodies()), end)


STORM = st.sampled_from([429, 503]).map(lambda status: Answer(status, {"retry-after": "0"}, [b"{}"], None))
FAULTS = st.lists(st.sampled_from(UNSENT + BROKEN) | STORM | answers(), min_size=1, max_size=5)


def tool() -> str:
    """Does nothing."""
    return "done"


GENERATIONS = {
    "chat": lambda client: client.chat("x"),
    "completions": lambda client: client.completions.create(prompt="x"),
    "generate": lambda client: client.generate("x"),
    "parse": lambda client: client.chat.parse("x", int),
    "run_tools": lambda client: client.chat.run_tools("x", tools=[tool], max_turns=2),
    "batch": lambda client: client.batch(client.chat, ["x", "y"], concurrency=1),
}
QUESTIONS = {
    "models": lambda client: client.models.list(),
    "health": lambda client: client.health(),
    "tokenize": lambda client: client.tokenize("x"),
    "metrics": lambda client: client.admin.metrics(),
}
STREAMS = {
    "chat": lambda client: client.chat.stream("x"),
    "completions": lambda client: client.completions.create(prompt="x", stream=True),
    "generate": lambda client: client.generate("x", stream=True),
}


@pytest.fixture(scope="module")
def slept():
    """The pauses between tries: short, so that there is time for them, and not waited for."""
    pauses: list[float] = []

    async def sleep(seconds):
        pauses.append(seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sgl_jax.client._retries.FIRST_DELAY", DEADLINE / 100)
        patch.setattr("sgl_jax.client._transport.time", SimpleNamespace(sleep=pauses.append))
        patch.setattr("sgl_jax.client._transport.asyncio", SimpleNamespace(sleep=sleep))
        yield pauses


def check(server: FaultyServer, slept: list[float], ended: Any, *, once: bool, calls: int = 1) -> None:
    """What holds after every call, whatever happened to it."""
    errors = [ended] if isinstance(ended, Exception) else []
    if isinstance(ended, list):
        errors = [one.error for one in ended if getattr(one, "error", None) is not None]
    for error in errors:
        assert isinstance(error, SglJaxClientError), error
        assert error.request_id
    assert server.tries <= calls * (1 + RETRIES)
    assert all(0 <= seconds <= DEADLINE for seconds in slept)  # none longer than the call may take
    assert all(body.closed for body in server.bodies)
    if once:
        assert max(server.begun.values(), default=0) <= 1
    slept.clear()


EVERY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@EVERY
@given(name=st.sampled_from(sorted(GENERATIONS) + sorted(QUESTIONS)), faults=FAULTS, is_async=st.booleans())
def test_calls(slept, name, faults, is_async):
    action = (GENERATIONS | QUESTIONS)[name]
    server = FaultyServer(faults)
    options = {"transport": server, "deadline": DEADLINE, "max_retries": RETRIES}

    async def main():
        async with AsyncSglJax("http://h", **options) as client:
            return await action(client)

    try:
        if is_async:
            ended = asyncio.run(main())
        else:
            with SglJax("http://h", **options) as client:
                ended = action(client)
    except SglJaxClientError as error:
        ended = error
    check(server, slept, ended, once=name in GENERATIONS, calls=2 if name in ("batch", "run_tools") else 1)


@EVERY
@given(name=st.sampled_from(sorted(STREAMS)), faults=FAULTS, is_async=st.booleans(), leave=st.integers(0, 3))
def test_streams(slept, name, faults, is_async, leave):
    """`leave`: after so many chunks; 0 reads to the end."""
    server = FaultyServer(faults)
    options = {"transport": server, "deadline": DEADLINE, "max_retries": RETRIES}

    def read():
        with SglJax("http://h", **options) as client, STREAMS[name](client) as stream:
            for _ in itertools.islice(stream, leave or None):
                pass
            return None if leave else stream.get_final_response()

    async def read_async():
        async with AsyncSglJax("http://h", **options) as client, STREAMS[name](client) as stream:
            count = 0
            async for _ in stream:
                count += 1
                if count == leave:
                    return None
            return await stream.get_final_response()

    try:
        ended = asyncio.run(read_async()) if is_async else read()
    except SglJaxClientError as error:
        ended = error
    check(server, slept, ended, once=True)


def test_a_call_gets_through_a_storm(slept):
    storm = [httpx.ConnectError("refused"), Answer(503, {"retry-after": "0"}, [b""], None)]
    server = FaultyServer([*storm, Answer(200, {}, [json_bytes(CHAT)], None)])
    with SglJax("http://h", transport=server) as client:
        assert client.chat("x").text == "3"
    assert server.tries == 3
    slept.clear()
