"""A model that thinks, speaks and calls a tool, for the APIs that are translations of chat."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from sgl_jax.engine.messages import Finish, TokenDelta

TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}|{{ m.reasoning_content }}|{{ m.content }}"
    "{% for c in m.tool_calls or [] %}|{{ c.id }}:{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}"
    "|{{ m.tool_call_id }}]{% endfor %}{% for t in tools or [] %}<{{ t.function.name }}>{% endfor %}"
    "{{ enable_thinking }}{{ reasoning_effort }}{# <tool_call> <think> #}"
)
SAID = '<think>\nHm…\n</think>\n\nI look.\n<tool_call>\n{"name": "look", "arguments": {"at": "Zürich"}}\n</tool_call>'


class Listener(httpx.AsyncClient):
    """A client that wants answers, and no errors."""

    async def ask(self, url: str, body: Any) -> Any:
        """The answer's JSON."""
        response = await self.post(url, json=body)
        assert response.status_code == 200, response.text
        return response.json()

    async def listen(self, url: str, body: Any) -> list[Any]:
        """The events of the streamed answer."""
        response = await self.post(url, json={**body, "stream": True})
        assert response.status_code == 200, response.text
        return self.events_of(response.text)

    @staticmethod
    def events_of(stream: str) -> list[Any]:
        """The events of a stream, whose names must be their types."""
        events = []
        for block in filter(None, stream.split("\n\n")):
            name, data = re.fullmatch(r"event: (\S+)\ndata: (.*)", block).groups()  # type: ignore[union-attr]
            events.append(json.loads(data))
            assert events[-1]["type"] == name
        return events


@pytest.fixture(scope="module")
def speaker(make_speaker: Callable[..., Any]) -> Any:
    """An app whose model says `SAID`, and its engine."""
    return make_speaker(SAID, TEMPLATE)


@pytest.fixture
def say_in_pieces(engine: Any) -> Callable[[str, list[int], Any], None]:
    """Makes the model say a text in deltas of so many tokens, in a circle, and then end for a reason."""

    def say(text: str, cuts: list[int], reason: Any) -> None:
        def script(request: Any) -> list[TokenDelta]:
            ids, deltas = engine.tokenizer.encode(text), []
            while ids:
                size = cuts[len(deltas) % len(cuts)]
                deltas.append(TokenDelta(ids[:size]))
                ids = ids[size:]
            return [*deltas, TokenDelta([], Finish(reason=reason))]

        engine.script = script

    return say


@pytest.fixture
def make_silent(make_speaker: Callable[..., Any]) -> Callable[..., Any]:
    """Makes an app whose model says nothing, and its engine; keyword arguments are `Limits`."""
    return lambda **limits: make_speaker("", TEMPLATE, **limits)


@pytest.fixture
def engine(speaker: Any) -> Iterator[Any]:
    """The engine, which has heard nothing yet; `script` makes it say something else for one test."""
    engine = speaker[1]
    usual = engine.script
    engine.submitted.clear()
    yield engine
    engine.script = usual


@pytest.fixture
def connect() -> Callable[[FastAPI], Listener]:
    """A client that talks to an app in process."""
    return lambda app: Listener(transport=httpx.ASGITransport(app=app), base_url="http://test")


@pytest.fixture
async def http(
    speaker: Any, engine: Any, connect: Callable[[FastAPI], Listener], anyio_backend: str
) -> AsyncIterator[Listener]:
    """A client of the app whose model says `SAID`."""
    async with connect(speaker[0]) as client:
        yield client
