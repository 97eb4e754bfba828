"""The page at `/`: how its files are sent, and what is in them. What it does is in `test_page_in_browser`."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import resources
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from fastapi import FastAPI

from sgl_jax.server.app import AppOptions
from sgl_jax.server.auth import Keys
from sgl_jax.server.command_line import parse_launch
from sgl_jax.server.page.files import MEDIA_TYPES, read_page

pytestmark = pytest.mark.anyio

Connect = Callable[[FastAPI], httpx.AsyncClient]
MakeApp = Callable[..., FastAPI]

FILES = {entry.name: entry for entry in resources.files("sgl_jax.server.page").joinpath("static").iterdir()}
PATHS = ["/", *(f"/page/{name}" for name in sorted(FILES))]
SECRET = AppOptions(keys=Keys(api="secret", admin="very secret"))


@pytest.mark.parametrize("path", PATHS)
async def test_files_are_sent_with_a_policy_that_lets_nothing_else_in(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert answer.status_code == 200
    assert answer.content == FILES[path.removeprefix("/page").removeprefix("/") or "index.html"].read_bytes()
    assert answer.headers["content-type"] in MEDIA_TYPES.values()
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy.pop("default-src") == "'self'"
    assert policy.pop("require-trusted-types-for") == "'script'"
    assert set(policy.values()) == {"'none'"}


@pytest.mark.parametrize("path", ["/", "/page/main.js"])
async def test_a_browser_that_has_a_file_is_not_sent_it_again(http: httpx.AsyncClient, path: str) -> None:
    first = await http.get(path)
    assert first.headers["cache-control"] == "no-cache"  # that is: ask again, each time
    etag = first.headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await http.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    assert (await http.get(path, headers={"If-None-Match": '"other"'})).status_code == 200
    assert (await http.get("/page/main.js")).headers["etag"] != (await http.get("/")).headers["etag"]
    head = await http.head(path)
    assert (head.status_code, head.headers["etag"]) == (200, etag)


async def test_it_can_be_left_out(make_app: MakeApp, connect: Connect) -> None:
    assert not parse_launch(["--model-path=m"]).server.disable_ui
    assert parse_launch(["--model-path=m", "--disable-ui"]).server.disable_ui
    async with connect(make_app(options=AppOptions(page=False))) as client:
        for path in PATHS:
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "route_not_found")


async def test_it_loads_without_a_key_and_asks_with_one(make_app: MakeApp, connect: Connect) -> None:
    async with connect(make_app(options=SECRET)) as client:
        for path in PATHS:
            assert (await client.get(path)).status_code == 200
        for path in ("/get_server_info", "/v1/chat/completions"):
            assert (await client.post(path, json={})).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/page/",
        "/page/files.py",
        "/page/../files.py",
        "/page/..%2ffiles.py",
        "/page/%2e%2e/files.py",
        "/page/%2e%2e%2f%2e%2e%2fauth.py",
        "/page/..\\files.py",
        "/page//etc/passwd",
        "/page/%2fetc%2fpasswd",
        "/page/main.js/",
        "/page/main.js%00",
        "/page/main.js%0A",
        "/page/static/main.js",
        "/page/MAIN.JS",
        "/page/../get_server_info",
        "/page/..%2fflush_cache",
    ],
)
async def test_nothing_else_is_below_it(make_app: MakeApp, path: str) -> None:
    """Paths are handed over as they are: a client would tidy them up before."""
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope: Any = {"type": "http", "method": "GET", "path": unquote(path), "raw_path": path.encode(), "headers": []}
    app: Any = make_app(options=SECRET)
    await app({**scope, "query_string": b"", "root_path": "", "scheme": "http"}, receive, send)
    assert sent[0]["status"] in (401, 404)


def test_every_file_is_served() -> None:
    assert set(read_page()) == set(FILES)


@pytest.mark.parametrize("name", sorted(FILES))
def test_files_keep_to_themselves(name: str) -> None:
    """No other host, no markup made of text, nothing that the policy would refuse, and no file that is not here."""
    text = FILES[name].read_text(encoding="utf-8")
    foreign = re.findall(r"(?:https?:)?//[\w-]+\.[\w.-]+", text)
    assert [address for address in foreign if address != "http://www.w3.org"] == []
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|\beval\(|new Function|DOMParser"
    assert re.findall(markup, text) == []
    if name.endswith(".html"):
        assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text) == []
        loaded = re.findall(r'(?:href|src)="page/([^"]+)"', text)
        assert loaded
    else:
        loaded = re.findall(r'^import [^"]*"\./([^"]+)";$', text, flags=re.MULTILINE)
        assert len(loaded) == len(re.findall(r"^import\b", text, flags=re.MULTILINE))
    assert set(loaded) <= set(FILES)
