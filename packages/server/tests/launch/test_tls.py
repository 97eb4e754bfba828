from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from sgl_jax.engine.errors import ConfigError
from sgl_jax.server.config import ServerConfig
from sgl_jax.server.tls import tls_context

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds `cert.pem` for 127.0.0.1 with `key.pem`, the key under a password, and another key."""
    folder = tmp_path_factory.mktemp("tls")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    names = ("-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2")
    for command in (
        ("req", "-x509", *curve, "-nodes", "-keyout", "key.pem", "-out", "cert.pem", *names),
        ("req", "-x509", *curve, "-nodes", "-keyout", "other.pem", "-out", "unused.pem", *names),
        ("pkcs8", "-topk8", "-in", "key.pem", "-out", "locked.pem", "-passout", "pass:secret"),
    ):
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)
    (folder / "both.pem").write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    return folder


def config(folder: Path, cert: str | None, key: str | None = None, password: str | None = None) -> ServerConfig:
    return ServerConfig(
        served_model_name="m",
        ssl_certfile=cert and str(folder / cert),
        ssl_keyfile=key and str(folder / key),
        ssl_keyfile_password=password,
    )


@pytest.mark.parametrize("given", [("cert.pem", "key.pem"), ("both.pem",), ("cert.pem", "locked.pem", "secret")])
def test_certificate_and_key_are_read(folder: Path, given: tuple[str, ...]) -> None:
    context = tls_context(config(folder, *given))
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_without_a_certificate_there_is_no_tls(folder: Path) -> None:
    assert tls_context(config(folder, None)) is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("cert.pem", "other.pem"), "belong together"),
        (("cert.pem",), "cannot be used"),
        (("key.pem", "key.pem"), "must be PEM"),
        (("cert.pem", "locked.pem"), "needs --ssl-keyfile-password"),
        (("cert.pem", "locked.pem", "wrong"), "cannot be used"),
        (("missing.pem", "key.pem"), r"missing\.pem or --ssl-keyfile=.*cannot be read: No such file"),
    ],
)
def test_what_cannot_work_is_told_at_once(folder: Path, given: tuple[str, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        tls_context(config(folder, *given))


def test_it_serves_https(serve: Callable[..., Any], folder: Path) -> None:
    key = "correct-horse"
    flags = ("--device=fake", f"--ssl-certfile={folder / 'cert.pem'}", f"--ssl-keyfile={folder / 'key.pem'}")
    server = serve(*flags, f"--api-key={key}")
    url = server.wait_ready()
    assert url.startswith("https://")
    trusted = ssl.create_default_context(cafile=folder / "cert.pem")
    with httpx.Client(base_url=url, verify=trusted, headers={"Authorization": f"Bearer {key}"}) as client:
        body = {"prompt": "Hi", "max_tokens": 3, "stream": True}
        assert "data: [DONE]" in client.post("/v1/completions", json=body).text
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(url)
    assert httpx.get(f"{url}/v1/models", verify=trusted).status_code == 401
    assert key not in server.log
