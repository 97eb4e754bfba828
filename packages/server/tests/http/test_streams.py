"""Streams: the same text as without, keep-alive, and clients that leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgl_jax.engine.messages import Finish, TokenDelta
from sgl_jax.server.generation import TOGETHER

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
HI = [{"role": "user", "content": "Hi"}]
ROUTES = [
    (CHAT, {"messages": HI, "max_tokens": 400}),
    ("/v1/completions", {"prompt": "Hi", "max_tokens": 400}),
    ("/generate", {"text": "Hi", "sampling_params": {"max_new_tokens": 400}}),
]


def text_of(path: str, stream: str) -> str:
    """The whole text of a streamed answer, which must end in `[DONE]`."""
    *chunks, done = [line.removeprefix("data: ") for line in stream.split("\n\n") if line.startswith("data: ")]
    assert done == "[DONE]"
    if path == "/generate":
        return str(json.loads(chunks[-1])["text"])
    choices = [json.loads(chunk)["choices"][0] for chunk in chunks]
    return "".join(one["text"] if "text" in one else one["delta"].get("content", "") for one in choices)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    text=st.text(alphabet=st.sampled_from("ab é👩\u200d🚀\n"), max_size=60),
    cuts=st.lists(st.integers(1, 5), min_size=1, max_size=20),
    stop=st.lists(st.text(alphabet="abé🚀", min_size=1, max_size=3), max_size=3),
    route=st.sampled_from(ROUTES),
)
def test_the_concatenation_equals_the_whole(
    make_app: Callable[..., FastAPI],
    connect: Callable[[FastAPI], httpx.AsyncClient],
    engine: Any,
    text: str,
    cuts: list[int],
    stop: list[str],
    route: tuple[str, dict[str, Any]],
) -> None:
    def script(request: Any) -> list[TokenDelta]:
        ids = engine.tokenizer.encode(text)
        deltas, start = [], 0
        while start < len(ids):
            size = cuts[len(deltas) % len(cuts)]
            deltas.append(TokenDelta(ids[start : start + size]))
            start += size
        return [*deltas, TokenDelta([], Finish(reason="length"))]

    path, fields = route
    if path == "/generate":
        body = {**fields, "sampling_params": {**fields["sampling_params"], "stop": stop}}
    else:
        body = {**fields, "stop": stop}
    engine.script = script

    async def send() -> tuple[str, str]:
        async with connect(make_app()) as client:
            whole = (await client.post(path, json=body)).json()
            streamed = await client.post(path, json={**body, "stream": True})
        if path != "/generate":
            (whole,) = whole["choices"]
        return whole["message"]["content"] if path == CHAT else whole["text"], text_of(path, streamed.text)

    whole, streamed = asyncio.run(send())
    assert streamed == whole
    assert text.startswith(whole)
    assert not any(one in whole for one in stop)
    if not any(one in text for one in stop):
        assert whole == text


@pytest.mark.parametrize(("path", "fields"), ROUTES)
async def test_a_waiting_stream_is_kept_alive(
    make_app: Callable[..., FastAPI],
    connect: Callable[[FastAPI], httpx.AsyncClient],
    engine: Any,
    path: str,
    fields: dict[str, Any],
) -> None:
    gate = asyncio.Event()
    engine.script = lambda request: [gate, *engine.say(request)]
    bodies: list[bytes] = []

    async def send(message: Any) -> None:
        bodies.append(message.get("body", b""))
        if bodies.count(b": keep-alive\n\n") == 2:
            gate.set()

    app = make_app(keep_alive_seconds=0.01)
    await app(scope(path), receiver({**fields, "stream": True}, asyncio.Event()), send)
    assert text_of(path, b"".join(bodies).decode()) == "Hello wörld! 👩‍🚀 Stop here."


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tokens_before", [0, 5])
@pytest.mark.parametrize(("path", "fields"), ROUTES)
async def test_a_client_that_leaves_frees_its_slot(
    make_app: Callable[..., FastAPI], engine: Any, path: str, fields: dict[str, Any], stream: bool, tokens_before: int
) -> None:
    engine.script = lambda request: [*engine.say(request)[:tokens_before], asyncio.Event()]
    gone = asyncio.Event()

    async def send(message: Any) -> None:
        pass

    serving = asyncio.ensure_future(make_app()(scope(path), receiver({**fields, "stream": stream}, gone), send))
    while engine.generated < tokens_before or not engine.submitted:
        await asyncio.sleep(0)
    gone.set()
    await serving
    assert engine.aborted == [request.request_id for request in engine.submitted]


async def test_leaving_frees_all_siblings(make_app: Callable[..., FastAPI], engine: Any) -> None:
    engine.script = lambda request: [asyncio.Event()]
    gone = asyncio.Event()

    async def send(message: Any) -> None:
        pass

    body = {"messages": HI, "n": 3, "stream": True}
    serving = asyncio.ensure_future(make_app()(scope(CHAT), receiver(body, gone), send))
    while len(engine.submitted) < 3:
        await asyncio.sleep(0)
    gone.set()
    await serving
    assert sorted(engine.aborted) == sorted(request.request_id for request in engine.submitted)


async def test_an_abort_that_comes_before_the_siblings_are_read_ends_one(http: httpx.AsyncClient, engine: Any) -> None:
    submit = engine.submit

    async def submit_and_abort(request: Any) -> None:
        await submit(request)
        if len(engine.submitted) == 3:
            await engine.abort([engine.submitted[0].request_id])

    engine.submit = submit_and_abort
    answer = await http.post(CHAT, json={"messages": HI, "n": 3})
    assert [choice["finish_reason"] for choice in answer.json()["choices"]] == ["abort", "stop", "stop"]


async def test_a_client_that_leaves_while_sending_costs_nothing(make_app: Callable[..., FastAPI], engine: Any) -> None:
    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        assert message.get("status", 499) == 499

    await make_app()(scope(CHAT), receive, send)
    assert not engine.submitted


async def test_a_finished_request_is_not_aborted(http: httpx.AsyncClient, engine: Any) -> None:
    for path, fields in ROUTES:
        for extra in ({}, {"stream": True}):
            await http.post(path, json={**fields, **extra})
    assert not engine.aborted
    assert (await http.post("/abort_request", json={"abort_all": True})).json() == {"aborted": 0}


def scope(path: str) -> dict[str, Any]:
    """An ASGI scope for a POST."""
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"content-type", b"application/json")], "client": ("test", 1), "server": ("test", 80),
    }  # fmt: skip


def receiver(body: dict[str, Any], gone: asyncio.Event) -> Callable[[], Any]:
    """An ASGI receive channel: the body, then silence until the client is gone."""
    messages = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    return receive


@pytest.mark.parametrize(("path", "body"), ROUTES)
async def test_how_many_tokens_come_at_a_time(
    make_app: Callable[..., FastAPI],
    connect: Callable[[FastAPI], httpx.AsyncClient],
    engine: Any,
    path: str,
    body: dict[str, Any],
) -> None:
    """What is streamed as the server is told; what is not streamed together, unless it may end at a stop string."""
    stop = {"sampling_params": {"stop": "x"}} if path == "/generate" else {"stop": "x"}
    async with connect(make_app(stream_interval=5)) as client:
        for more in ({"stream": True}, {"stream": True, **stop}, {}, stop):
            assert (await client.post(path, json={**body, **more})).status_code == 200
    assert engine.asked_every == [5, 5, TOGETHER, 1]
