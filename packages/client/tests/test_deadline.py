"""A limit on all of a call, which a server that drips cannot get around."""

from __future__ import annotations

import itertools
import time

import httpx
import pytest

from sgl_jax.client import APITimeoutError, RateLimitError, SglJax
from sgl_jax.client._deadline import timeout_within
from sgl_jax.client._options import ClientOptions
from sgl_jax.client._requests import Reply, exchange
from sgl_jax.client.resources.chat import CHAT


class Drip(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Bytes without end, each of them in time."""

    def __iter__(self):
        for _ in itertools.count():
            time.sleep(0.001)
            yield b" "

    async def __aiter__(self):
        for byte in self:
            yield byte


def drip(request):
    return httpx.Response(200, stream=Drip())


class Nothing(Drip):
    """A whole compressed body, and then bytes without end that are no part of it."""

    def __iter__(self):
        yield b"\x03\x00"
        yield from super().__iter__()


def drip_nothing(request):
    return httpx.Response(200, headers={"content-encoding": "deflate"}, stream=Nothing())


@pytest.mark.parametrize("body", [drip, drip_nothing])
@pytest.mark.parametrize("action", [lambda client: client.chat("x"), lambda client: client.models.list()])
def test_an_answer_that_drips_ends_at_the_deadline(body, action, use):
    with pytest.raises(APITimeoutError, match="deadline"):
        use(body, action, deadline=0.05, max_retries=0)


def test_a_stream_that_drips_ends_at_the_deadline(connect):
    client, _ = connect(drip)
    with client.chat.stream("x", deadline=0.05) as stream, pytest.raises(APITimeoutError, match="deadline"):
        list(stream)
    assert list(stream) == []


def test_the_calls_own_deadline_wins(connect):
    client, _ = connect(drip, deadline=600)
    with pytest.raises(APITimeoutError):
        client.with_options(max_retries=0).chat("x", deadline=0.02)


def test_a_pause_beyond_the_deadline_is_not_begun():
    now = iter([100.0, 103.0])
    steps = exchange(CHAT.call({}), ClientOptions(root="http://h", deadline=10), clock=lambda: next(now))
    assert next(steps).request.deadline == 110
    with pytest.raises(RateLimitError):
        steps.send(Reply(429, {"retry-after": "7"}, b"", "req"))


@pytest.mark.parametrize(
    ("timeout", "parts"),
    [
        (None, (10, 10, 10, 10)),
        (3.0, (3, 3, 3, 3)),
        ((5.0, 600.0, 600.0, None), (5, 10, 10, 10)),
        (httpx.Timeout(20, connect=1), (1, 10, 10, 10)),
    ],
)
def test_no_wait_is_longer_than_what_is_left(timeout, parts):
    within = timeout_within(timeout, time.monotonic() + 10)
    assert (within.connect, within.read, within.write, within.pool) == pytest.approx(parts, abs=1)


@pytest.mark.parametrize("deadline", [0, -1, float("nan")])
def test_a_deadline_is_a_time_to_come(deadline):
    with pytest.raises(ValueError, match="deadline"):
        SglJax("http://h", deadline=deadline)
