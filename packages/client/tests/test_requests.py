"""The exchange without a network: what is sent, what is repeated, what is raised."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_jax.client import APIConnectionError, InvalidResponseError, RateLimitError, SglJaxClientError
from sgl_jax.client._endpoint import Endpoint, json_as
from sgl_jax.client._options import ClientOptions
from sgl_jax.client._requests import Failure, Reply, Send, Sleep, build_request, exchange, result_of
from sgl_jax.client.types import ChatCompletion, ChatMessage

OPTIONS = ClientOptions(root="http://h", max_retries=2)
POST = Endpoint("POST", "/v1/chat/completions", parse=json_as(ChatCompletion))
GET = Endpoint("GET", "/v1/models", parse=json_as(ChatCompletion))


def reply(status: int, body: bytes = b"{}", **headers: str) -> Reply:
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, "req")


def failure(*, unsent: bool) -> Failure:
    return Failure(APIConnectionError("no answer"), unsent=unsent)


def play(call, outcomes, options=OPTIONS):
    """Feeds outcomes to an exchange; returns how often it sent, and its reply or error."""
    steps, sent, outcome = exchange(call, options), 0, None
    outcomes = iter(outcomes)
    try:
        while True:
            step = steps.send(outcome)
            outcome = None
            if isinstance(step, Send):
                sent += 1
                outcome = next(outcomes)
            else:
                assert isinstance(step, Sleep)
                assert step.seconds >= 0
    except StopIteration as end:
        return sent, end.value
    except SglJaxClientError as error:
        return sent, error


@pytest.mark.parametrize(
    ("endpoint", "outcome", "tries"),
    [
        (POST, reply(429), 3),
        (POST, reply(503), 3),
        (POST, failure(unsent=True), 3),
        (POST, failure(unsent=False), 1),
        (POST, reply(500), 1),
        (POST, reply(502), 1),
        (POST, reply(400), 1),
        (GET, failure(unsent=False), 3),
        (GET, reply(502), 3),
        (GET, reply(404), 1),
    ],
)
def test_only_what_is_safe_is_sent_again(endpoint, outcome, tries):
    sent, result = play(endpoint.call({"x": 1} if endpoint is POST else None), [outcome] * 10)
    assert sent == tries
    assert isinstance(result, SglJaxClientError)


def test_a_later_success_is_the_result():
    good = reply(200)
    assert play(POST.call({}), [reply(503), failure(unsent=True), good]) == (3, good)


def test_no_retries_when_none_are_wanted():
    sent, result = play(POST.call({}), [reply(429)], ClientOptions(root="http://h", max_retries=0))
    assert sent == 1
    assert isinstance(result, RateLimitError)


def test_a_server_that_asks_for_too_long_a_wait_is_not_waited_for():
    assert play(POST.call({}), [reply(503, retry_after="3600")])[0] == 1


def test_retry_after_is_the_pause():
    steps = exchange(POST.call({}), OPTIONS)
    next(steps)
    assert 7 <= steps.send(reply(429, retry_after="7")).seconds <= 7.8


OUTCOMES = st.one_of(
    st.sampled_from([200, 400, 404, 408, 429, 500, 502, 503, 504]).map(reply),
    st.booleans().map(lambda unsent: failure(unsent=unsent)),
)


@given(outcomes=st.lists(OUTCOMES, min_size=1, max_size=8), retries=st.integers(0, 5))
def test_a_generation_never_happens_twice(outcomes, retries):
    outcomes.append(reply(200))
    sent, _ = play(POST.call({}), outcomes, ClientOptions(root="http://h", max_retries=retries))
    for outcome in outcomes[: sent - 1]:  # everything before the last try
        assert outcome.unsent if isinstance(outcome, Failure) else outcome.status in (429, 503)


def test_the_body_holds_what_was_given_and_nothing_else():
    call = POST.call(
        {"messages": []},
        {"temperature": 0.0, "seed": None, "extra_body": {"regex": "a+", "temperature": 1}, "timeout": 3.0},
        stream=False,
    )
    assert json.loads(build_request(call, OPTIONS).content) == {"messages": [], "temperature": 1, "regex": "a+"}


def test_a_request_says_who_asks_and_under_what_id():
    options = ClientOptions(root="http://h/base", api_key="key", default_headers={"X-Team": "a", "X-More": "b"})
    request = build_request(POST.call({}, {"extra_headers": {"x-team": "c", "X-Request-ID": "mine"}}), options)
    assert request.url == "http://h/base/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer key"
    assert (request.headers["x-team"], request.headers["x-more"]) == ("c", "b")
    assert request.request_id == request.headers["x-request-id"] == "mine"


def test_each_request_has_its_own_id():
    assert build_request(GET.call(), OPTIONS).request_id != build_request(GET.call(), OPTIONS).request_id


@pytest.mark.parametrize(("params", "timeout"), [({}, OPTIONS.timeout), ({"timeout": 2}, 2), ({"timeout": None}, None)])
def test_the_requests_own_timeout_wins(params, timeout):
    assert build_request(GET.call(params=params), OPTIONS).timeout == timeout


def test_answers_go_back_into_requests():
    message = ChatMessage.model_validate({"role": "assistant", "content": "hi", "tool_calls": None, "new_field": 1})
    request = build_request(POST.call({"messages": [message]}), OPTIONS)
    assert json.loads(request.content) == {"messages": [{"role": "assistant", "content": "hi", "new_field": 1}]}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}])
def test_what_json_cannot_hold_is_refused_before_it_is_sent(value):
    with pytest.raises((TypeError, ValueError)):
        build_request(POST.call({"temperature": value}), OPTIONS)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"choices": 3}', b"\xff"])
def test_a_success_of_the_wrong_shape_is_an_error(body):
    with pytest.raises(InvalidResponseError, match="POST /v1/chat/completions") as caught:
        result_of(POST.call({}), reply(200, body))
    assert caught.value.request_id == "req"
