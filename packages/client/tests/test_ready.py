"""Waiting for a server, with a clock that only sleeping moves."""

from __future__ import annotations

import pytest

from sgl_jax.client import APIConnectionError, AuthenticationError, NotReadyError, SglJax
from sgl_jax.client._options import ClientOptions
from sgl_jax.client._ready import until_ready
from sgl_jax.client._requests import Failure, Reply, Sleep

OPTIONS = ClientOptions(root="http://h")
NO_ROUTE = (404, b'{"detail": "Not Found"}')
REFUSED = Failure(APIConnectionError("connection refused"), unsent=True)


def wait(answer, timeout=60.0):
    """Waits for a server whose `answer(path, now)` is a status and a body; returns phases and seconds waited."""
    now, phases, outcome = 0.0, [], None
    steps = until_ready(OPTIONS, timeout=timeout, on_progress=phases.append, clock=lambda: now)
    while True:
        try:
            step = steps.send(outcome)
        except StopIteration:
            return phases, now
        outcome = None
        if isinstance(step, Sleep):
            assert step.seconds > 0
            now += step.seconds
        else:
            assert step.request.timeout <= 5
            got = answer(step.request.url.removeprefix("http://h"), now)
            outcome = got if isinstance(got, Failure) else Reply(got[0], {}, got[1], "req")


def starting(path, now):
    """A server that is silent, loads, compiles, and is ready after 9 seconds."""
    if now < 2:
        return REFUSED
    if path == "/readyz":
        return (200, b"") if now >= 9 else (503, b'{"error": {"message": "not ready"}}')
    phase = b'"loading"' if now < 4 else b'{"name": "compiling", "done": %d, "total": 2}' % (now >= 6)
    return 200, b'{"status": "starting", "phase": ' + phase + b"}"


def test_phases_are_told_once_each_until_it_is_ready():
    phases, seconds = wait(starting)
    assert phases == ["no answer (connection refused)", "loading", "compiling 0/2", "compiling 1/2", "ready"]
    assert 9 <= seconds <= 10


def test_a_ready_server_is_not_waited_for():
    assert wait(lambda path, now: (200, b"ok")) == (["ready"], 0)


@pytest.mark.parametrize("there", [{"/readyz"}, {"/health"}, {"/v1/models"}])
def test_other_servers_are_ready_in_their_own_way(there):
    phases, _ = wait(lambda path, now: (200, b"") if path in there else NO_ROUTE)
    assert phases == ["ready"]


def test_health_alone_does_not_mean_ready_where_there_is_readyz():
    def answer(path, now):
        return (503, b"") if path == "/readyz" and now < 3 else (200, b"")

    phases, seconds = wait(answer)
    assert phases[-1] == "ready"
    assert 3 <= seconds <= 4


@pytest.mark.parametrize(
    ("answer", "phase"),
    [
        (lambda path, now: REFUSED, "no answer (connection refused)"),
        (lambda path, now: starting(path, 5), "compiling 0/2"),
        (lambda path, now: (500, b"bug"), "status 500 from /health"),
        (lambda path, now: NO_ROUTE, "the server has none of /readyz, /health and /v1/models"),
        (lambda path, now: (503, b"busy") if path == "/readyz" else NO_ROUTE, "starting"),
    ],
)
def test_when_time_runs_out_the_error_tells_the_phase(answer, phase):
    with pytest.raises(NotReadyError, match="not ready after 7 s; last seen:") as caught:
        wait(answer, timeout=7)
    assert caught.value.phase == phase
    assert phase in str(caught.value)


def test_a_wrong_key_is_told_at_once():
    with pytest.raises(AuthenticationError):
        wait(lambda path, now: (401, b'{"error": {"message": "wrong key"}}'))


def test_a_dead_engine_is_not_waited_for():
    def answer(path, now):
        return (503, b"") if path == "/readyz" else (503, b'{"phase": "dead"}')

    with pytest.raises(NotReadyError, match="died") as caught:
        wait(answer)
    assert caught.value.phase == "dead"


def test_no_time_at_all_is_still_one_question(server_url):
    with SglJax(server_url) as client:
        client.wait_until_ready(timeout=0)
