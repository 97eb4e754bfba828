"""Whatever is sent, the answer is no 5xx, comes in one shape, and the server stays healthy."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e.server_process import wait_until

pytestmark = pytest.mark.model

CHAT = "/v1/chat/completions"
ROUTES = (CHAT, "/v1/completions", "/generate", "/tokenize", "/detokenize", "/abort_request")

BODIES: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "another type": b"[]",
    "NaN": b'{"prompt": "a", "text": "a", "messages": [{"role": "user", "content": "a"}], "temperature": NaN}',
    "Infinity": b'{"prompt": "a", "text": "a", "messages": [{"role": "user", "content": "a"}], "top_p": -Infinity}',
    "a number beyond floats": b'{"prompt": 1e999, "text": 1e999, "messages": 1e999, "tokens": [1e999], "rid": 1e999}',
    "deep arrays": b'{"prompt": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "deep objects": b'{"messages": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
    "endless opening": b"[" * 1_000_000,
    "not UTF-8": b'{"prompt": "\xff\xfe", "text": "\xff"}',
    "lone surrogate": b'{"prompt": "\\ud800", "text": "\\udfff", "messages": [{"role": "user", "content": "\\ud800"}]}',
    "null bytes": b'{"prompt": "a\\u0000b", "text": "a\\u0000b", "messages": [{"role": "user", "content": "\\u0000"}]}',
    "a byte-order mark": b"\xef\xbb\xbf{}",
}

FIELDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v1/completions", {"prompt": [10**9]}),
    ("/v1/completions", {"prompt": [-1]}),
    ("/v1/completions", {"prompt": [2**63]}),
    ("/v1/completions", {"prompt": [2**200]}),
    ("/v1/completions", {"prompt": [[1], ["a"]]}),
    ("/v1/completions", {"prompt": []}),
    ("/v1/completions", {"prompt": "a", "max_tokens": 2**70}),
    ("/v1/completions", {"prompt": "a", "max_tokens": -1}),
    ("/v1/completions", {"prompt": "a", "n": 10**9}),
    ("/v1/completions", {"prompt": "a", "seed": 2**64}),
    ("/v1/completions", {"prompt": "a", "stop": [""]}),
    ("/v1/completions", {"prompt": "a", "stop": ["x"] * 1000}),
    ("/v1/completions", {"prompt": "a", "stop_token_ids": [10**9]}),
    ("/v1/completions", {"prompt": "a", "logprobs": 10**6}),
    ("/v1/completions", {"prompt": "a", "temperature": 1e308, "top_p": 1e-308, "top_k": -2}),
    ("/v1/completions", {"prompt": "word " * 20_000}),
    ("/v1/completions", {"prompt": "a" * 200_000}),
    ("/v1/completions", {"prompt": ["a"] * 5000}),
    (CHAT, {"messages": []}),
    (CHAT, {"messages": [{"role": "root", "content": "a"}]}),
    (
        CHAT,
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}
            ]
        },
    ),
    (CHAT, {"messages": [{"role": "user", "content": {"a": 1}}]}),
    (CHAT, {"messages": [{"role": "user", "content": "a"}], "chat_template_kwargs": {"messages": 1}}),
    (CHAT, {"messages": [{"role": "user", "content": "word " * 20_000}], "stream": True}),
    ("/generate", {"input_ids": [[10**9]], "sampling_params": {"max_new_tokens": 1}}),
    ("/generate", {"text": "a", "sampling_params": {"__class__": "x"}}),
    ("/generate", {"text": "a", "sampling_params": {"max_new_tokens": 10**12}}),
    ("/generate", {"text": "a", "rid": "x" * 10**6, "sampling_params": {"max_new_tokens": -5}}),
    ("/detokenize", {"tokens": [2**40]}),
    ("/detokenize", {"tokens": [-(2**70)]}),
)


@pytest.fixture(autouse=True)
def _healthy_afterwards(http: httpx.Client, stats: Callable[[], dict[str, Any]]) -> Iterator[None]:
    yield
    assert http.get("/health_generate").status_code == 200
    wait_until(lambda: stats()["running"] == stats()["waiting"] == 0, "nothing is left running")


def check_refusal(response: httpx.Response) -> None:
    assert response.status_code in (400, 413), response.text[:500]
    error = response.json()["error"]
    assert error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "Traceback" not in response.text


@pytest.mark.parametrize("name", BODIES)
def test_bodies(http: httpx.Client, name: str) -> None:
    for route in ROUTES:
        response = http.post(route, content=BODIES[name], headers={"content-type": "application/json"})
        check_refusal(response)


def test_fields(http: httpx.Client) -> None:
    for route, fields in FIELDS:
        try:
            check_refusal(http.post(route, json=fields))
        except AssertionError as error:
            raise AssertionError(f"{route} with {json.dumps(fields)[:200]}") from error


def test_strange_but_valid(http: httpx.Client) -> None:
    """Taken, and answered."""
    for fields in (
        {"prompt": "\u202e\ufeff👩‍👩‍👧‍👦 \x1b[31m"},
        {"prompt": "<|im_start|><|im_end|>"},
        {"prompt": [0, 49_151]},
        {"prompt": "a", "temperature": 1e-300},
        {"prompt": "a", "temperature": 1e6, "min_p": 1.0, "top_k": 10**6},
        {"prompt": "a", "seed": -(2**63)},
        {"prompt": "a", "unknown_field": {"deep": [1, 2, 3]}},
        {"prompt": "a", "user": "\n\r\t"},
    ):
        response = http.post("/v1/completions", json={"max_tokens": 2, **fields})
        assert response.status_code == 200, (fields, response.text)


def test_no_http_at_all(url: str) -> None:
    address = urlsplit(url)
    for garbage in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):
        with socket.create_connection((address.hostname or "", address.port or 0), timeout=30) as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass


def test_a_body_shorter_than_it_says(url: str) -> None:
    address = urlsplit(url)
    head = b"POST /generate HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=30) as connection:
        connection.sendall(head)
