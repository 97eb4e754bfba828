from __future__ import annotations

import pickle

import pytest

import sgl_jax.client as api
from sgl_jax.client._exceptions import error_from_body


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, api.BadRequestError),
        (401, api.AuthenticationError),
        (403, api.PermissionDeniedError),
        (404, api.NotFoundError),
        (413, api.RequestTooLargeError),
        (422, api.BadRequestError),
        (429, api.RateLimitError),
        (500, api.InternalServerError),
        (502, api.InternalServerError),
        (503, api.ServiceUnavailableError),
        (307, api.APIError),
        (418, api.APIError),
    ],
)
def test_the_status_decides_the_class(status, kind):
    error = error_from_body({"error": {"message": "no"}}, status=status, request_id="r")
    assert type(error) is kind
    assert error.status == status


def test_all_that_the_server_says_is_kept():
    body = {
        "error": {
            "message": "top_p must be in (0, 1]",
            "type": "invalid_request_error",
            "param": "top_p",
            "code": "range",
        }
    }
    error = error_from_body(body, status=400, request_id="req-1")
    assert (error.message, error.type, error.param, error.code) == (
        "top_p must be in (0, 1]",
        "invalid_request_error",
        "top_p",
        "range",
    )
    assert error.body == body
    assert error.request_id == "req-1"
    assert str(error) == "top_p must be in (0, 1] (request id req-1)"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"message": "flat"}, "flat"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"detail": [{"loc": ["body"]}]}, "[{'loc': ['body']}]"),
        ({"error": "just text"}, "just text"),
        ("<html>Bad Gateway</html>", "<html>Bad Gateway</html>"),
        ("", "The server answered 502."),
        ({}, "The server answered 502."),
        ([1], "[1]"),
        (None, "The server answered 502."),
    ],
)
def test_other_shapes_of_errors_are_read_too(body, message):
    assert error_from_body(body, status=502, request_id=None).message == message


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "service_unavailable_error", "code": "unavailable"}, api.ServiceUnavailableError),
        ({"type": "rate_limit_error"}, api.RateLimitError),
        ({"type": "invalid_request_error"}, api.BadRequestError),
        ({"type": "BadRequestError", "code": 400}, api.BadRequestError),
        ({"type": ["odd"]}, api.APIError),
        ({}, api.APIError),
    ],
)
def test_inside_a_stream_the_error_itself_decides(error, kind):
    assert type(error_from_body({"error": error}, status=None, request_id=None)) is kind


def test_errors_travel_between_processes():
    error = error_from_body({"error": {"message": "full", "code": "queue_full"}}, status=429, request_id="r")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is api.RateLimitError
    assert (copy.code, copy.status, str(copy)) == ("queue_full", 429, str(error))


def test_a_timeout_is_a_connection_error():
    assert issubclass(api.APITimeoutError, api.APIConnectionError)
    assert not issubclass(api.APIConnectionError, api.APIError)
