"""Who may come in, and which web pages may ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI

from sgl_jax.server.app import AppOptions
from sgl_jax.server.auth import ADMIN, OPEN, Keys

pytestmark = pytest.mark.anyio

Connect = Callable[[FastAPI], httpx.AsyncClient]
MakeApp = Callable[..., FastAPI]

USER, BOSS, WRONG = "user-key", "boss-key", "wrong-key"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def statuses(client: httpx.AsyncClient, path: str) -> dict[str, int]:
    """What each of them gets."""
    answers = {"nobody": await client.get(path)}
    for name, key in (("stranger", WRONG), ("user", USER), ("boss", BOSS)):
        answers[name] = await client.get(path, headers=bearer(key))
    return {name: answer.status_code for name, answer in answers.items()}


@pytest.mark.parametrize(
    ("keys", "route", "admin"),
    [
        (Keys(), [200, 200, 200, 200], [200, 200, 200, 200]),
        (Keys(api=USER), [401, 401, 200, 401], [401, 401, 200, 401]),
        (Keys(admin=BOSS), [200, 200, 200, 200], [401, 401, 401, 200]),
        (Keys(api=USER, admin=BOSS), [401, 401, 200, 200], [401, 401, 403, 200]),
    ],
    ids=["no keys", "a key", "an admin key", "both"],
)
async def test_who_gets_in(make_app: MakeApp, connect: Connect, keys: Keys, route: list[int], admin: list[int]) -> None:
    async with connect(make_app(options=AppOptions(keys=keys))) as client:
        assert list((await statuses(client, "/v1/models")).values()) == route
        # A line feed at the end still finds the route.
        for path in ("/flush_cache", "/flush_cache%0A"):
            assert list((await statuses(client, path)).values()) == admin
        assert list((await statuses(client, "/health")).values()) == [200] * 4


async def test_refusals_say_what_to_send(make_app: MakeApp, connect: Connect) -> None:
    async with connect(make_app(options=AppOptions(keys=Keys(USER, BOSS)))) as client:
        for headers, says in (({}, "No API key was sent"), (bearer(WRONG), "not valid"), (bearer(""), "No API key")):
            answer = await client.post("/v1/completions", json={"prompt": "Hi"}, headers=headers)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (401, "invalid_api_key")
            assert says in error["message"]
            assert "Authorization: Bearer" in error["message"]
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["x-request-id"]
        refused = await client.get("/flush_cache", headers=bearer(USER))
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "admin_only")


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"bearer  {USER} "},
        {"x-api-key": USER},
        {"X-Api-Key": USER, "Content-Type": "application/json"},
    ],
)
async def test_keys_come_in_the_ways_that_clients_send_them(
    make_app: MakeApp, connect: Connect, headers: dict[str, str]
) -> None:
    async with connect(make_app(options=AppOptions(keys=Keys(USER)))) as client:
        assert (await client.get("/v1/models", headers=headers)).status_code == 200


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", USER, f"Basic {USER}", f"Bearer {USER}x", "Bearer \xff"])
async def test_other_headers_open_nothing(make_app: MakeApp, connect: Connect, value: str) -> None:
    async with connect(make_app(options=AppOptions(keys=Keys(USER)))) as client:
        headers = {b"Authorization": value.encode("latin-1")}
        assert (await client.get("/v1/models", headers=headers)).status_code == 401


async def test_every_route_is_open_or_needs_a_key(make_app: MakeApp, connect: Connect) -> None:
    app = make_app(options=AppOptions(keys=Keys(USER)))
    async with connect(app) as client:
        for path, methods in app.openapi()["paths"].items():
            for method in methods:
                status = (await client.request(method, path)).status_code
                assert (status == 401) == (path not in OPEN), path


def test_the_two_lists_have_nothing_in_common() -> None:
    assert not OPEN & ADMIN


def test_the_official_client_knows_the_error(make_app: MakeApp, serve: Callable[[FastAPI], str]) -> None:
    url = serve(make_app(options=AppOptions(keys=Keys(USER))))
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key=WRONG, max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match="not valid"),
    ):
        client.models.list()
    with openai.OpenAI(base_url=f"{url}/v1", api_key=USER, max_retries=0) as client:
        assert client.models.list().data


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ((), "https://a.example", None),
        (("*",), "https://a.example", "*"),
        (("https://a.example", "https://b.example"), "https://b.example", "https://b.example"),
        (("https://a.example",), "https://evil.example", None),
    ],
)
async def test_which_pages_may_ask(
    make_app: MakeApp, connect: Connect, origins: tuple[str, ...], origin: str, allowed: str | None
) -> None:
    options = AppOptions(keys=Keys(USER), cors_allow_origins=origins)
    asks: dict[str, Any] = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    async with connect(make_app(options=options)) as client:
        preflight = await client.options("/v1/chat/completions", headers=asks)  # has no key
        assert (preflight.status_code == 200) == (allowed is not None)
        answer = await client.get("/v1/models", headers={"Origin": origin, **bearer(USER)})
        refused = await client.get("/v1/models", headers={"Origin": origin})
    for response in (answer, refused):
        assert response.headers.get("access-control-allow-origin") == allowed
    if allowed is not None:
        assert answer.headers["access-control-expose-headers"] == "x-request-id"
