"""Long texts are rendered and tokenized beside the event loop, so that nobody else waits for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from sgl_jax.engine.text.chat_template import ChatTemplate
from sgl_jax.engine.text.tokenizer import Tokenizer
from sgl_jax.server.prompts import INLINE_CHARACTERS

pytestmark = pytest.mark.anyio

PATIENCE = 30.0
"""Seconds after which a test is stuck; never what a test measures."""
LONG = "x" * (INLINE_CHARACTERS + 1)


class Gate:
    """Holds up whoever passes until it is opened, and says when somebody is there."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._opened = threading.Event()

    def pass_through(self) -> None:
        self.reached.set()
        assert self._opened.wait(PATIENCE), "nobody opened the gate: the event loop was held up"

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Held up at it: renderings and tokenizings."""
    gate = Gate()
    render, encode = ChatTemplate.render, Tokenizer.encode_batch

    def slow_render(self: ChatTemplate, *args: Any, **options: Any) -> str:
        gate.pass_through()
        return render(self, *args, **options)

    def slow_encode(self: Tokenizer, *args: Any, **options: Any) -> list[list[int]]:
        gate.pass_through()
        return encode(self, *args, **options)

    monkeypatch.setattr(ChatTemplate, "render", slow_render)
    monkeypatch.setattr(Tokenizer, "encode_batch", slow_encode)
    return gate


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param("/tokenize", {"prompt": LONG}, id="long text"),
        pytest.param("/tokenize", {"messages": [{"role": "user", "content": LONG}]}, id="long message"),
        pytest.param(
            "/tokenize",
            {"messages": [{"role": "user", "content": [{"type": "text", "text": LONG}]}]},
            id="long part",
        ),
        pytest.param("/tokenize", {"messages": [{"role": "user", "content": "x"}] * 100}, id="many messages"),
        pytest.param("/v1/completions", {"prompt": [LONG], "max_tokens": 1}, id="long prompt"),
        pytest.param("/generate", {"text": LONG}, id="native"),
    ],
)
async def test_others_are_answered_meanwhile(
    make_app: Callable[..., FastAPI],
    connect: Callable[[FastAPI], httpx.AsyncClient],
    gate: Gate,
    path: str,
    body: dict[str, Any],
) -> None:
    async with connect(make_app()) as client:
        asked = asyncio.create_task(client.post(path, json=body))
        await asyncio.to_thread(gate.reached.wait, PATIENCE)
        assert (await client.get("/health")).status_code == 200
        assert not asked.done()
        gate.open()
        # The tiny model's window holds no such prompt; what counts is that the answer came.
        assert (await asked).status_code in (200, 400)


async def test_free_template_variables_count_as_long(
    make_app: Callable[..., FastAPI],
    connect: Callable[[FastAPI], httpx.AsyncClient],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = []
    render = ChatTemplate.render

    def spying_render(self: ChatTemplate, *args: Any, **options: Any) -> str:
        threads.append(threading.current_thread())
        return render(self, *args, **options)

    monkeypatch.setattr(ChatTemplate, "render", spying_render)
    async with connect(make_app()) as client:
        for extra in ({}, {"chat_template_kwargs": {"rounds": 3}}):
            body = {"messages": [{"role": "user", "content": "Hi"}], **extra}
            assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
    assert [thread is threading.main_thread() for thread in threads] == [True, False]
