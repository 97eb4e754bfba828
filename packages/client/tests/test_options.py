from __future__ import annotations

import pytest

from sgl_jax.client import AsyncSglJax, SglJax


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    monkeypatch.delenv("SGL_JAX_BASE_URL", raising=False)
    monkeypatch.delenv("SGL_JAX_API_KEY", raising=False)


@pytest.mark.parametrize(
    ("given", "base_url"),
    [
        ("http://h:1", "http://h:1"),
        ("http://h:1/", "http://h:1"),
        ("http://h:1/v1", "http://h:1"),
        ("https://h/v1/", "https://h"),
        ("https://h/gateway/v1", "https://h/gateway"),
        (None, "http://127.0.0.1:30000"),
    ],
)
def test_the_url_may_end_in_v1(given, base_url):
    with SglJax(given) as client:
        assert client.base_url == base_url
        assert repr(client) == f"SglJax({base_url!r})"


def test_the_environment_names_the_server(monkeypatch):
    monkeypatch.setenv("SGL_JAX_BASE_URL", "http://elsewhere:9/v1")
    assert SglJax().base_url == "http://elsewhere:9"
    assert AsyncSglJax().base_url == "http://elsewhere:9"
    assert SglJax("http://here:1").base_url == "http://here:1"


@pytest.mark.parametrize(
    "url", ["127.0.0.1:30000", "ftp://h", "http://", "http://h:port", "http://h:99999", "http://["]
)
def test_what_is_no_url_is_refused_at_once(url):
    with pytest.raises(ValueError, match=r"base_url|[Pp]ort|IPv6"):
        SglJax(url)


def test_negative_retries_are_refused():
    with pytest.raises(ValueError, match="max_retries"):
        SglJax(max_retries=-1)


def test_the_key_is_not_shown():
    client = SglJax(api_key="secret")
    assert "secret" not in repr(client)
    assert "secret" not in repr(client._options)
