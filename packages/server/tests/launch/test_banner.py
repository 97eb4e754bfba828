from __future__ import annotations

import io
import json
import shlex

import pytest

from sgl_jax.server.banner import base_url, client_lines, curl_line, show_banner


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:30000"),
        ("0.0.0.0", "http://127.0.0.1:30000"),
        ("::", "http://[::1]:30000"),
        ("::1", "http://[::1]:30000"),
        ("box.local", "http://box.local:30000"),
    ],
)
def test_the_url_can_be_opened_from_this_machine(host: str, url: str) -> None:
    assert base_url(host, 30000) == url


@pytest.mark.parametrize("model", ["SmolLM2-135M-Instruct", 'it\'s a "model"', "größer"])
def test_the_curl_line_is_one_valid_command(model: str) -> None:
    words = shlex.split(curl_line("http://127.0.0.1:1", model))
    assert words[:2] == ["curl", "http://127.0.0.1:1/v1/chat/completions"]
    assert json.loads(words[-1])["model"] == model


def test_the_python_lines_are_valid() -> None:
    compile("\n".join(client_lines("http://127.0.0.1:1")), "banner", "exec")


def test_lines_to_copy_are_neither_wrapped_nor_indented() -> None:
    stream = io.StringIO()
    model = "m" * 200
    show_banner("http://127.0.0.1:1", model, {"device": "cpu", "KV pool": "64 [tokens]"}, stream)
    lines = stream.getvalue().splitlines()
    assert curl_line("http://127.0.0.1:1", model) in lines
    for line in client_lines("http://127.0.0.1:1"):
        assert line in lines
    assert any("KV pool  64 [tokens]" in line for line in lines)
