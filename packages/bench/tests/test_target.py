"""The target with a scripted client and a scripted clock: every reported time is exact."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest

from sgl_jax.bench.connections import Connections
from sgl_jax.bench.record import RequestRecord
from sgl_jax.bench.target import Target, TargetOptions
from sgl_jax.bench.workload.base import Message, RequestSpec
from sgl_jax.client import APIConnectionError, APIError, APITimeoutError, AsyncSglJax, StreamError
from sgl_jax.client.types import ChatCompletionChunk, Completion

SPEC = RequestSpec(4, (Message("system", "Be brief."), Message("user", "Hello")), max_tokens=9)


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class _Stream:
    """Gives each event after its delay on the clock; an exception is raised in its place."""

    def __init__(self, clock: _Clock, script: Sequence[tuple[float, Any]]) -> None:
        self._clock = clock
        self._script = script
        self.closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.closed = True

    async def __aiter__(self) -> AsyncIterator[Any]:
        for delay, event in self._script:
            self._clock.now += delay
            if isinstance(event, Exception):
                raise event
            yield event


class _Client:
    """Stands in for `AsyncSglJax`: remembers the arguments of `create` and answers with a stream."""

    def __init__(self, stream: _Stream | Exception) -> None:
        self.arguments: dict[str, Any] = {}
        self._stream = stream
        self.chat = SimpleNamespace(completions=SimpleNamespace(create=self._create))
        self.completions = SimpleNamespace(create=self._create)

    async def _create(self, **arguments: Any) -> _Stream:
        self.arguments = arguments
        if isinstance(self._stream, Exception):
            raise self._stream
        return self._stream


def _only(client: _Client) -> Connections:
    return Connections(lambda: cast("AsyncSglJax", client))


def _chat(finish: str | None = None, usage: dict[str, Any] | None = None, **delta: Any) -> ChatCompletionChunk:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}] if delta or finish else []
    return ChatCompletionChunk.model_validate({"choices": choices, "usage": usage})


ROLE = _chat(role="assistant", content="")
USAGE = _chat(
    usage={
        "prompt_tokens": 12,
        "completion_tokens": 3,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 8},
    }
)


def _measure(
    script: Sequence[tuple[float, Any]] | Exception, due: float | None = None, **options: Any
) -> tuple[RequestRecord, _Client]:
    clock = _Clock()
    client = _Client(script if isinstance(script, Exception) else _Stream(clock, script))
    target = Target(_only(client), TargetOptions("http://x", model="m", **options), clock=clock)
    return asyncio.run(target.measure(SPEC, due)), client


def test_times_and_tokens_are_taken_as_they_come() -> None:
    script = [(0.25, ROLE), (0.25, _chat(content="a")), (0.5, _chat(content="b")), (1.0, _chat("stop")), (1.0, USAGE)]
    record, _ = _measure(script)
    assert record.ok
    assert (record.index, record.sent) == (4, 100.0)
    assert (record.ttft, record.gaps, record.e2e) == (0.5, [0.5], 3.0)
    assert (record.input_tokens, record.output_tokens, record.cached_tokens) == (12, 3, 8)
    assert record.finish_reason == "stop"
    assert record.tpot == 1.25


@pytest.mark.parametrize("delta", [{"reasoning_content": "hm"}, {"tool_calls": [{"index": 0}]}])
def test_reasoning_and_tool_calls_are_output_too(delta: dict[str, Any]) -> None:
    record, _ = _measure([(0.5, ROLE), (0.5, _chat(**delta))])
    assert record.ttft == 1.0


def test_text_completions_are_measured_alike() -> None:
    text = Completion.model_validate({"choices": [{"index": 0, "text": "a"}]})
    last = Completion.model_validate({"choices": [{"index": 0, "text": "", "finish_reason": "length"}]})
    record, client = _measure([(0.5, text), (0.5, last), (0.0, USAGE)], endpoint="completions")
    assert (record.ttft, record.gaps, record.finish_reason) == (0.5, [], "length")
    assert client.arguments["prompt"] == "Be brief.\nHello"


def test_the_request_says_what_was_asked_for() -> None:
    _, client = _measure([], temperature=0.0, seed=10, ignore_eos=True)
    assert client.arguments == {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        "model": "m",
        "max_tokens": 9,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "seed": 14,
        "extra_body": {"ignore_eos": True},
    }


def test_what_was_not_asked_for_is_not_sent() -> None:
    _, client = _measure([])
    assert not {"seed", "extra_body"} & client.arguments.keys()
    assert client.arguments["temperature"] == 0.7


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        (APIError("the queue is full", status=429), "http_429", 429),
        (APIError("broken off"), "stream", None),
        (StreamError("cut"), "stream", None),
        (APITimeoutError("slow"), "timeout", None),
        (APIConnectionError("refused"), "connection", None),
    ],
)
def test_failures_are_told_apart(error: Exception, kind: str, status: int | None) -> None:
    at_once, _ = _measure(error)
    midway, _ = _measure([(0.5, _chat(content="a")), (1.0, error)])
    for record in (at_once, midway):
        assert record.failure is not None
        assert (record.failure.kind, record.failure.status) == (kind, status)
        assert record.failure.message
    assert midway.chunk_times == [100.5]
    assert midway.end == 101.5


def test_a_request_that_takes_too_long_is_given_up() -> None:
    class Silent(_Stream):
        async def __aiter__(self) -> AsyncIterator[Any]:
            await asyncio.Event().wait()
            yield ROLE

    stream = Silent(_Clock(), [])
    target = Target(_only(_Client(stream)), TargetOptions("http://x", model="m", timeout=0.01))
    record = asyncio.run(target.measure(SPEC))
    assert record.failure is not None
    assert record.failure.kind == "timeout"
    assert "0.01 s" in record.failure.message
    assert stream.closed


def test_a_bug_is_not_counted_as_a_failed_request() -> None:
    with pytest.raises(ZeroDivisionError):
        _measure([(0.0, ZeroDivisionError("ours"))])


@pytest.mark.parametrize("url", ["localhost:30000", "http://localhost:30000/", "http://localhost:30000/v1/"])
def test_urls_are_taken_as_people_write_them(url: str) -> None:
    assert TargetOptions(url).root == "http://localhost:30000"
