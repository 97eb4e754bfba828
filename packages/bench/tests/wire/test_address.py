from __future__ import annotations

import pytest

from sgl_jax.bench.wire.address import ServerAddress


@pytest.mark.parametrize(
    ("url", "address", "host_header"),
    [
        ("http://localhost:30000", ServerAddress(False, "localhost", 30000), "localhost:30000"),
        ("https://llm.example.org/", ServerAddress(True, "llm.example.org", 443), "llm.example.org:443"),
        ("http://[::1]:8000/team/a/", ServerAddress(False, "::1", 8000, "/team/a"), "[::1]:8000"),
    ],
)
def test_urls_are_taken_apart(url: str, address: ServerAddress, host_header: str) -> None:
    assert ServerAddress.parse(url) == address
    assert address.host_header == host_header


@pytest.mark.parametrize("url", ["localhost:30000", "ftp://x", "http://", "http://x:port", "http://x:99999"])
def test_what_is_no_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"looks like|[Pp]ort"):
        ServerAddress.parse(url)
